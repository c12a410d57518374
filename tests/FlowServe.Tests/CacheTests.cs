using CsCheck;

namespace XDeepServe.FlowServe.Tests;

public sealed class CacheTests
{
    private const int BlockSize = 4;

    private sealed class Live(Sequence sequence)
    {
        public Sequence Sequence => sequence;

        public int Computed { get; set; }
    }

    [Fact]
    public void Blocks_are_owned_once_or_shared_by_equal_prefixes_and_none_is_lost() =>
        Gen.Select(Gen.Int[0, 3], Gen.Int[1, 30], Gen.Int[0, 2]).Array[1, 60].Sample(commands =>
        {
            TensorCache cache = new(24, BlockSize, sharing: true);
            List<Live> live = [];
            foreach ((int command, int size, int content) in commands)
            {
                if (command <= 1)
                    Start(cache, live, size, content);
                else if (live.Count > 0)
                    Stop(cache, live, size % live.Count);
                Check(cache, live);
            }
            while (live.Count > 0)
                Stop(cache, live, 0);
            Assert.Equal(0, cache.Pool.InUse);
            Assert.True(cache.TryReset());
            Assert.Equal(24, cache.Pool.Available);
        }, iter: 500);

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(9)]
    public void A_scheduler_finishes_everything_and_leaves_nothing(int together) =>
        Gen.Select(Gen.Int[1, 60], Gen.Int[1, 20], Gen.Int[0, 3]).Array[1, 25].Sample(requests =>
        {
            EngineOptions options = new() { MaxModelLength = 80, MaxSequences = 5, MaxBatchedTokens = 16, BlockSize = BlockSize, NumBlocksOverride = 22 };
            TensorCache cache = new(22, BlockSize, sharing: true);
            Scheduler scheduler = new(options, cache);
            LateSupply supply = new();
            if (together > 0)
                scheduler.Supplies.Add(supply);
            List<Sequence> all = [];
            foreach ((int prompt, int generated, int content) in requests)
            {
                all.Add(Make(prompt, Math.Min(generated, 80 - prompt), content));
                scheduler.Add(all[^1]);
            }
            StepPlan[] plans = [new(5, 20), new(5, 20)];
            StepPlan? running = null;
            for (int step = 0; all.Exists(sequence => !sequence.Finished); step++)
            {
                Assert.True(step < 4000, "The scheduler makes no progress.");
                StepPlan plan = plans[step % 2];
                scheduler.Plan(plan, step);
                Assert.InRange(plan.Tokens, 0, options.MaxBatchedTokens);
                Assert.InRange(scheduler.Running.Count, 0, options.MaxSequences);
                Assert.Equal(plan.Work.Count, plan.Work.Select(work => work.Sequence).Distinct().Count());
                foreach (PlannedWork work in plan.Work)
                    Assert.True(work.Sequence.BlockCount * BlockSize >= work.Length);
                bool sleeps = plan.Work.Count == 0 && running is null;
                Assert.True(!sleeps || scheduler.Arriving.Count > 0, "The group sleeps, and nothing is on its way that would wake it.");
                if (sleeps || (together > 0 && step % 11 == 0))
                    supply.Arrive(together);
                // Results come one step late.
                foreach (PlannedWork work in running?.Work ?? [])
                {
                    if (work.Sequence.Finished)
                        continue;
                    work.Sequence.PromptDone |= work.Length >= work.Sequence.PromptLength;
                    cache.Commit(work.Sequence, Math.Min(work.Length, work.Sequence.Known.Length));
                    if (!work.Samples)
                        continue;
                    work.Sequence.AddKnown(work.Length % 3);
                    if (work.Sequence.Published == work.Sequence.MaxNew || (step + work.Length) % 37 == 0)
                        scheduler.Remove(work.Sequence);
                }
                running = plan.Work.Count > 0 ? plan : null;
            }
            Assert.Equal((0, 0, 0), (cache.Pool.InUse, scheduler.Running.Count, scheduler.Waiting.Count));
        }, iter: 300);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void One_that_lacks_room_waits_for_those_on_their_way_and_goes_back_without_ending_the_step(bool together)
    {
        EngineOptions options = new() { MaxModelLength = 80, MaxSequences = 5, MaxBatchedTokens = 32, BlockSize = BlockSize, NumBlocksOverride = 17 };
        TensorCache cache = new(17, BlockSize, sharing: true);
        LateSupply supply = new();
        Scheduler scheduler = new(options, cache) { Supplies = { supply } };
        Sequence older = Make(21, 2, 1), newer = Make(61, 1, 2), last = Make(3, 1, 3);
        scheduler.Add(older);
        scheduler.Add(newer);
        StepPlan plan = new(5, 20);
        scheduler.Plan(plan, 0);
        Assert.Equal((0, 2), (plan.Work.Count, scheduler.Arriving.Count));
        scheduler.Add(last);
        if (!together)
        {
            supply.Arrive(1); // the newer one: its next chunk finds no room, and the older one's blocks are being filled
            scheduler.Plan(plan, 1);
            Assert.Equal([newer], scheduler.Running);
            Assert.Equal([last], scheduler.Waiting);
            Assert.Empty(plan.Work);
        }
        supply.Arrive(2);
        scheduler.Plan(plan, 2);
        Assert.Equal([newer, last], scheduler.Waiting);
        Assert.Equal(older, Assert.Single(plan.Work).Sequence);
    }

    [Fact]
    public void One_without_a_slot_lets_those_run_that_went_back_with_theirs()
    {
        EngineOptions options = new() { MaxModelLength = 80, MaxSequences = 1, MaxBatchedTokens = 16, BlockSize = BlockSize, NumBlocksOverride = 17 };
        TensorCache cache = new(17, BlockSize, sharing: true);
        Scheduler scheduler = new(options, cache);
        Sequence first = Make(60, 2, 1), held = Make(52, 1, 2), urgent = Make(8, 1, 3, priority: -1);
        StepPlan plan = new(1, 20);
        scheduler.Add(first);
        scheduler.Plan(plan, 0);
        Assert.True(cache.TryExtend(held, 52)); // what a request leaves behind that goes on elsewhere
        scheduler.Add(urgent);
        scheduler.Plan(plan, 1);
        Assert.Equal([urgent, first], scheduler.Waiting);
        cache.Release(held);
        scheduler.Plan(plan, 2);
        Assert.Equal(first, Assert.Single(plan.Work).Sequence);
        scheduler.Remove(first);
        scheduler.Plan(plan, 3);
        Assert.Equal(urgent, Assert.Single(plan.Work).Sequence);
    }

    [Fact]
    public void A_prompt_that_waits_for_room_is_counted_once()
    {
        EngineMetrics metrics = new(80);
        EngineOptions options = new() { MaxModelLength = 80, MaxSequences = 5, MaxBatchedTokens = 64, BlockSize = BlockSize, NumBlocksOverride = 17 };
        TensorCache cache = new(17, BlockSize, sharing: true, new BlockResidency(17, metrics));
        Scheduler scheduler = new(options, cache);
        Sequence first = Make(50, 2, 1), second = Make(50, 2, 2); // the first 8 tokens are equal
        StepPlan plan = new(5, 20);
        scheduler.Add(first);
        scheduler.Plan(plan, 0);
        cache.Commit(first, 50);
        scheduler.Add(second);
        for (int step = 1; step < 9; step++)
            scheduler.Plan(plan, step);
        Assert.Equal([second], scheduler.Waiting);
        Assert.Equal((50, 0, 0), (cache.Queries, cache.Hits, metrics.BlockReuseGap.Counts().Sum()));
        scheduler.Remove(first);
        scheduler.Plan(plan, 9);
        Assert.Equal(second, Assert.Single(plan.Work).Sequence);
        Assert.Equal((100, 8, 2), (cache.Queries, cache.Hits, metrics.BlockReuseGap.Counts().Sum()));
    }

    [Fact]
    public void Hashes_depend_on_content_alone()
    {
        // Written down once: another process, another day, the same number.
        ulong hash = RadixIndex.Hash(RadixIndex.SaltHash(null), [1, 2, 3, 4]);
        Assert.Equal(hash, RadixIndex.Hash(RadixIndex.SaltHash(null), [1, 2, 3, 4]));
        Assert.Equal(4635933712026656430UL, hash);
        Assert.NotEqual(hash, RadixIndex.Hash(RadixIndex.SaltHash("salt"), [1, 2, 3, 4]));
        Assert.NotEqual(hash, RadixIndex.Hash(RadixIndex.SaltHash(null), [1, 2, 4, 3]));
    }

    [Fact]
    public void The_longest_unused_block_goes_first_and_misuse_is_loud()
    {
        BlockPool pool = new(3);
        int[] blocks = new int[3];
        for (int i = 0; i < 3; i++)
        {
            Assert.True(pool.TryTake(out blocks[i], out _));
            pool.Keep(blocks[i]);
        }
        Assert.False(pool.TryTake(out _, out _));
        foreach (int i in new[] { 1, 2, 0 })
            pool.Release(blocks[i]);
        pool.Acquire(blocks[1]);
        Assert.True(pool.TryTake(out int taken, out bool evicted));
        Assert.Equal((blocks[2], true), (taken, evicted));
        pool.Release(taken);
        Assert.Throws<InvalidOperationException>(() => pool.Release(taken));
        Assert.Throws<InvalidOperationException>(() => pool.Acquire(taken));
        Assert.Equal(1, pool.InUse);
    }

    private static Sequence Make(int prompt, int generated, int content, int priority = 0) => new(
        new GenerationRequest
        {
            Id = "test",
            Prompt = [.. Enumerable.Range(0, prompt).Select(i => i < 9 ? i : i * content)],
            Sampling = new SamplingParameters(),
            Priority = priority,
        }, 0, generated, BlockSize);

    private static void Start(TensorCache cache, List<Live> live, int size, int content)
    {
        Sequence sequence = Make(size, 5, content);
        int found = cache.Match(sequence);
        Assert.InRange(found, 0, size - 1);
        if (!cache.TryExtend(sequence, size))
        {
            cache.Release(sequence);
            return;
        }
        cache.Commit(sequence, size);
        live.Add(new Live(sequence) { Computed = size });
    }

    private static void Stop(TensorCache cache, List<Live> live, int index)
    {
        cache.Release(live[index].Sequence);
        live.RemoveAt(index);
    }

    private static void Check(TensorCache cache, List<Live> live)
    {
        Dictionary<int, (int Users, string Prefix)> owners = [];
        foreach (Live item in live)
        {
            for (int place = 0; place < item.Sequence.BlockCount; place++)
            {
                int end = Math.Min((place + 1) * BlockSize, item.Computed);
                string prefix = string.Join(',', item.Sequence.Known[..end].ToArray());
                int block = item.Sequence.Blocks[place];
                if (owners.TryGetValue(block, out var owner))
                    Assert.Equal(owner.Prefix, prefix);
                owners[block] = (owner.Users + 1, prefix);
            }
        }
        Assert.Equal(owners.Count, cache.Pool.InUse);
        Assert.All(owners, owner => Assert.Equal(owner.Value.Users, cache.Pool.References(owner.Key)));
    }

    /// <summary>Brings half of what is known of each sequence, when told to; to the last first.</summary>
    private sealed class LateSupply : IKvSupply
    {
        private readonly Stack<(Sequence Sequence, int To)> begun = [];
        private int arrived;

        public void Arrive(int count) => arrived = Math.Min(count, begun.Count);

        public int Reach(Sequence sequence, int from) => sequence.Known.Length / 2;

        public void Begin(Sequence sequence, int from, int to) => begun.Push((sequence, to));

        public void Cancel(Sequence sequence)
        {
        }

        public void Drop(Sequence sequence)
        {
        }

        public bool TryComplete(out Sequence sequence, out int computed)
        {
            bool any = arrived > 0;
            arrived -= any ? 1 : 0;
            (sequence, computed) = any ? begun.Pop() : default;
            return any;
        }
    }
}
