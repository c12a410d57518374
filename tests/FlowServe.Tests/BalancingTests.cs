using CsCheck;
using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.FlowServe.Tests;

public sealed class BalancingTests
{
    [Fact]
    public void DeepSeeks_published_case_comes_out_exactly()
    {
        ExpertLoad load = Load(
            [[90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86]],
            [[20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27]]);
        ExpertPlacement[] placed = ExpertBalancer.Rebalance(
            load, new BalancerOptions { Algorithm = BalancingAlgorithm.Hierarchical, Ranks = 8, Redundant = 0, Nodes = 2, Groups = 4 });
        Assert.Equal([5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1], placed[0].Slots.ToArray());
        Assert.Equal([7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1], placed[1].Slots.ToArray());
    }

    [Fact]
    public void Placements_are_whole_and_never_beat_the_lower_bound() =>
        Gen.Select(Gen.Int[1, 24], Gen.Int[1, 12], Gen.Int[0, 3], Gen.Int[1, 5], Gen.Int[0, 40], Gen.Enum<BalancingAlgorithm>(), Gen.Int).Sample((experts, ranks, redundant, slices, budget, algorithm, seed) =>
        {
            Random random = new(seed);
            ExpertLoad load = new(2, experts, slices);
            foreach (ref int count in load.Counts)
                count = random.Next(4) == 0 ? random.Next(5000) : random.Next(50);
            BalancerOptions options = new() { Algorithm = algorithm, Ranks = ranks, Redundant = redundant, Budget = budget };
            ExpertPlacement[] placed = ExpertBalancer.Rebalance(load, options);
            ExpertPlacement plain = ExpertPlacement.Plain(experts, ranks, redundant);
            for (int layer = 0; layer < 2; layer++)
            {
                ExpertPlacement placement = placed[layer];
                Assert.Equal((plain.Slots.Length, ranks), (placement.Slots.Length, placement.Ranks));
                int held = 0;
                for (int expert = 0; expert < experts; expert++)
                {
                    Assert.False(placement.SlotsOf(expert).IsEmpty);
                    foreach (int slot in placement.SlotsOf(expert))
                        Assert.Equal(expert, placement.Slots[slot]);
                    held += placement.SlotsOf(expert).Length;
                }
                Assert.Equal(placement.Slots.Length - placement.Slots.Count(-1), held);
                if (algorithm == BalancingAlgorithm.TimeSliced)
                {
                    Assert.InRange(held - experts, 0, budget);
                    for (int slot = 0; slot < plain.Slots.Length; slot++)
                        Assert.True(plain.Slots[slot] < 0 || plain.Slots[slot] == placement.Slots[slot], "an expert's own slot moved");
                }
                double length = ExpertBalancer.Length(load, layer, placement);
                Assert.True(length >= ExpertBalancer.LowerBound(load, layer, ranks, held - experts) * (1 - 1e-9));
                Assert.InRange(ExpertBalancer.Balancedness(load, layer, placement), 0, 1 + 1e-9);
            }
        }, iter: 2000);

    [Fact]
    public void Placements_are_reached_by_waves_in_which_every_expert_has_a_slot_and_none_moves_in_vain() =>
        Gen.Select(Gen.Int[2, 24], Gen.Int[1, 8], Gen.Int[1, 3], Gen.Enum<BalancingAlgorithm>(), Gen.Int).Sample((experts, ranks, redundant, algorithm, seed) =>
        {
            Random random = new(seed);
            BalancerOptions options = new() { Algorithm = algorithm, Ranks = ranks, Redundant = redundant };
            ExpertPlacement[] current = [ExpertPlacement.Plain(experts, ranks, redundant)];
            for (int round = 0; round < 4; round++)
            {
                ExpertLoad load = new(1, experts, 2);
                foreach (ref int count in load.Counts)
                    count = random.Next(4) == 0 ? random.Next(5000) : random.Next(50);
                ExpertPlacement next = ExpertBalancer.Rebalance(load, options, current)[0];
                ExpertPlacement homes = current[0].Homes();
                Assert.Equal(experts, homes.Slots.Length - homes.Slots.Count(-1));
                ExpertPlacement at = current[0];
                foreach (PlacementWave wave in PlacementWave.Between(at, next))
                {
                    for (int slot = 0; slot < at.Slots.Length; slot++)
                    {
                        bool loaded = wave.Moves.Any(move => move.Slot == slot);
                        Assert.True(!loaded || wave.Disabled.Slots[slot] == -1);
                        Assert.True(wave.Disabled.Slots[slot] == -1 || wave.Disabled.Slots[slot] == at.Slots[slot]);
                        Assert.Equal(loaded ? wave.Moves.Single(move => move.Slot == slot).Expert : wave.Disabled.Slots[slot], wave.Restored.Slots[slot]);
                    }
                    at = wave.Restored;
                }
                if (algorithm == BalancingAlgorithm.TimeSliced) // others may have experts trade places without a free slot
                    Assert.Equal(next.Slots.ToArray(), at.Slots.ToArray());
                if (algorithm == BalancingAlgorithm.TimeSliced && at.Homes().Slots.SequenceEqual(homes.Slots))
                    Assert.Empty(at.MovesTo(ExpertBalancer.Rebalance(load, options, [at])[0]));
                current = [at];
            }
        }, iter: 500);

    [Fact]
    public void The_greedy_choice_equals_one_that_tries_every_hottest_expert_afresh() =>
        Gen.Select(Gen.Int[1, 9], Gen.Int[1, 6], Gen.Int[0, 20], Gen.Int).Sample((experts, slices, budget, seed) =>
        {
            Random random = new(seed);
            ExpertLoad load = new(1, experts, slices);
            foreach (ref int count in load.Counts)
                count = random.Next(1000);
            int[] expected = [.. Enumerable.Repeat(1, experts)];
            for (int round = 0; round < budget; round++)
            {
                int[] hottest = [.. Enumerable.Range(0, slices).Select(slice => Enumerable.Range(0, experts).MaxBy(expert => (double)load.Slice(0, slice)[expert] / expected[expert])).Distinct()];
                int best = hottest.MinBy(candidate => Enumerable.Range(0, slices).Sum(slice =>
                    Enumerable.Range(0, experts).Max(expert => (double)load.Slice(0, slice)[expert] / (expected[expert] + (expert == candidate ? 1 : 0)))));
                expected[best]++;
            }
            Assert.Equal(expected, new TimeSlicedGreedy(load, 0, int.MaxValue).Replicate(budget));
        }, iter: 500);

    [Fact]
    public void Slices_of_time_beat_totals_where_the_hot_expert_changes()
    {
        // Each slice has a hottest expert of its own; the steady ones have larger totals and are never the hottest.
        ExpertLoad load = Load([[60, 60, 60, 60, 100, 9, 9, 9], [60, 60, 60, 60, 9, 100, 9, 9], [60, 60, 60, 60, 9, 9, 100, 9], [60, 60, 60, 60, 9, 9, 9, 100]]);
        BalancerOptions options = new() { Ranks = 12, Redundant = 0 }; // a rank for every slot
        double sliced = ExpertBalancer.Length(load, 0, ExpertBalancer.Rebalance(load, options)[0]);
        double totals = ExpertBalancer.Length(load, 0, ExpertBalancer.Rebalance(load, options with { Algorithm = BalancingAlgorithm.Global })[0]);
        // The same algorithm with one slice for all of the time knows totals alone.
        double together = ExpertBalancer.Length(load, 0, ExpertBalancer.Rebalance(Load([[240, 240, 240, 240, 127, 127, 127, 127]]), options)[0]);
        Assert.Equal((240, 400, 400), (sliced, totals, together));
    }

    [Fact]
    public void Copies_go_to_other_ranks_than_their_own()
    {
        ExpertLoad load = Load([[1000, 1, 1, 1]]);
        ExpertPlacement placed = ExpertBalancer.Rebalance(load, new BalancerOptions { Ranks = 4, Redundant = 2 })[0];
        Assert.Equal([0, 1, 2, 3], placed.SlotsOf(0).ToArray().Select(slot => slot / placed.SlotsPerRank));
    }

    [Fact]
    public void Tables_go_round_the_slots_and_groups_begin_apart()
    {
        ExpertPlacement placement = new(3, 2, [0, 1, 2, 1, 1, -1]);
        RoutingTable first = new(placement, 5, group: 0), second = new(placement, 5, group: 1);
        Assert.Equal([0, 1, 2, 0, 3, 2, 0, 4, 2, 0, 1, 2, 0, 3, 2], first.Entries.ToArray());
        Assert.Equal([3, 4, 1, 3, 4], Enumerable.Range(0, 5).Select(position => second.Entries[position * 3 + 1]));
        int[] ids = [1, 0, 1, 2, 0, 1, 2, 1, 1, 0, 1, 2];
        first.Map(ids, 2, ids); // six tokens in five rows: the last begins again
        Assert.Equal([1, 0, 3, 2, 0, 4, 2, 1, 3, 0, 1, 2], ids);
    }

    [Fact]
    public void Every_slot_of_an_expert_gets_its_share_of_a_step() =>
        Gen.Select(Gen.Int[1, 12], Gen.Int[1, 6], Gen.Int[0, 3], Gen.Int[1, 64], Gen.Int).Sample((experts, ranks, redundant, positions, seed) =>
        {
            Random random = new(seed);
            ExpertLoad load = new(1, experts, 1);
            foreach (ref int count in load.Counts)
                count = random.Next(100);
            ExpertPlacement placement = ExpertBalancer.Rebalance(load, new BalancerOptions { Ranks = ranks, Redundant = redundant })[0];
            RoutingTable table = new(placement, positions, random.Next(300));
            for (int expert = 0; expert < experts; expert++)
            {
                int[] uses = [.. placement.SlotsOf(expert).ToArray().Select(slot => Enumerable.Range(0, positions).Count(position => table.Entries[position * experts + expert] == slot))];
                Assert.Equal(positions, uses.Sum());
                Assert.InRange(uses.Max() - uses.Min(), 0, 1);
            }
        }, iter: 300);

    [Fact]
    public void Counters_keep_the_last_slices_and_loads_add_up()
    {
        ExpertCounter counter = new(2, 3, 2);
        counter.Count(0, [0, 0]);
        counter.Advance();
        counter.Count(0, [1, 2, 1, -1]);
        counter.Advance();
        counter.Count(1, [2]);
        counter.Add(1, [0, 5, 1]);
        ExpertLoad load = new(2, 3, 2), sum = new(2, 3, 2);
        counter.CopyTo(load);
        Assert.Equal([0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 5, 2], load.Counts.ToArray());
        sum.Add(load);
        sum.Add(load);
        Assert.Equal([0L, 10, 4], sum.Totals(1));
        Assert.Throws<ArgumentException>(() => sum.Add(new ExpertLoad(2, 3, 1)));
    }

    [Fact]
    public void Nothing_is_moved_for_small_batches_or_small_gains()
    {
        ExpertLoad uneven = Load([[100, 10, 10, 10]]), even = Load([[30, 31, 30, 29]]);
        BalancerOptions options = new() { Ranks = 4 };
        ExpertPlacement[] plain = [ExpertPlacement.Plain(4, 4, 1)];
        Assert.True(ExpertBalancer.IsWorthwhile(uneven, plain, 512, options));
        Assert.False(ExpertBalancer.IsWorthwhile(uneven, plain, 511, options));
        Assert.False(ExpertBalancer.IsWorthwhile(even, plain, 512, options));
        Assert.True(ExpertBalancer.IsWorthwhile(even, plain, 512, options with { Threshold = 1 }));
        Assert.False(ExpertBalancer.IsWorthwhile(new ExpertLoad(1, 4, 1), plain, 512, options with { Threshold = 1 }));
        ExpertPlacement[] placed = ExpertBalancer.Rebalance(uneven, options);
        Assert.Equal([new ReplicaMove(3, 0), new ReplicaMove(5, 0), new ReplicaMove(7, 0)], plain[0].MovesTo(placed[0]).Where(move => move.Expert == 0));
    }

    [Fact]
    public void Impossible_placements_are_refused()
    {
        Assert.Throws<ArgumentException>(() => new ExpertPlacement(3, 2, [0, 1, 0, -1]));
        Assert.Throws<ArgumentException>(() => new ExpertPlacement(2, 2, [0, 1, 2, -1]));
        Assert.Throws<ArgumentException>(() => new ExpertPlacement(2, 2, [0, 1, 1]));
        Assert.Throws<ArgumentException>(() => ExpertBalancer.Rebalance(
            new ExpertLoad(1, 12, 1), new BalancerOptions { Algorithm = BalancingAlgorithm.Hierarchical, Ranks = 8, Nodes = 3, Groups = 4 }));
    }

    /// <summary>Layers of slices of counts.</summary>
    private static ExpertLoad Load(params int[][][] layers)
    {
        ExpertLoad load = new(layers.Length, layers[0][0].Length, layers[0].Length);
        for (int layer = 0; layer < layers.Length; layer++)
            for (int slice = 0; slice < load.Slices; slice++)
                layers[layer][slice].CopyTo(load.Slice(layer, slice));
        return load;
    }
}
