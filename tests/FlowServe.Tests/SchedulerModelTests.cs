using CsCheck;

namespace XDeepServe.FlowServe.Tests;

/// <summary>A scheduler among everything that can happen to its sequences, in any order: steps that end late, fetches, holds, priorities, choices, aborts.</summary>
public sealed class SchedulerModelTests
{
    private const int BlockSize = 4, Pool = 22;

    [Fact]
    public void Whatever_happens_it_sleeps_only_where_it_is_woken_and_leaves_nothing() => Gen.Int.Sample(seed => new World(seed).Run(), iter: 1500);

    private sealed class World
    {
        private readonly Random random;
        private readonly EngineOptions options;
        private readonly TensorCache cache = new(Pool, BlockSize, sharing: true);
        private readonly Scheduler scheduler;
        private readonly List<Sequence> all = [];
        private readonly List<int[]> holds = [];
        private readonly List<Supply> supplies = [];
        private readonly StepPlan[] plans;
        private StepPlan? running;

        public World(int seed)
        {
            random = new Random(seed);
            bool chunked = random.Next(3) > 0;
            options = new() { MaxModelLength = 80, MaxSequences = random.Next(1, 6), MaxBatchedTokens = chunked ? 16 : 80, ChunkedPrefill = chunked, BlockSize = BlockSize, NumBlocksOverride = Pool };
            scheduler = new Scheduler(options, cache);
            for (int left = random.Next(3); left > 0; left--)
                supplies.Add(new Supply(random));
            scheduler.Supplies.AddRange(supplies);
            plans = [new(options.MaxSequences, 20), new(options.MaxSequences, 20)];
        }

        public void Run()
        {
            int requests = random.Next(1, 25), step = 0;
            for (; requests > 0 || all.Exists(sequence => !sequence.Finished) || running is not null || scheduler.Arriving.Count > 0; step++)
            {
                Assert.True(step < 5000, "The scheduler makes no progress.");
                for (; requests > 0 && random.Next(4) == 0; requests--)
                    Add();
                if (random.Next(12) == 0 && all.Count > 0)
                    scheduler.Remove(all[random.Next(all.Count)]);
                if (random.Next(6) == 0)
                    End(anything: false);
                StepPlan plan = plans[step % 2];
                scheduler.Plan(plan, step);
                Check(plan);
                if (plan.Work.Count == 0 && running is null && !End(anything: true) && requests == 0)
                    Assert.True(scheduler.Waiting.Count + scheduler.Running.Count == 0, "The group sleeps, and nothing is on its way that would wake it.");
                Publish(step);
                running = plan.Work.Count > 0 ? plan : null;
            }
            while (holds.Count > 0)
                Free();
            Assert.Equal((0, 0, 0), (cache.Pool.InUse, scheduler.Running.Count, scheduler.Waiting.Count));
            Assert.All(supplies, supply => Assert.Equal(0, supply.Count));
            supplies.ForEach(supply => supply.Empty = true);
            for (int left = options.MaxSequences; left > 0; left--)
                scheduler.Add(Make(1, 1, left, null, 0));
            scheduler.Plan(plans[step % 2], step);
            Assert.Equal(options.MaxSequences, plans[step % 2].Work.Count); // no slot is lost
        }

        private void Add()
        {
            int prompt = random.Next(1, 61), content = random.Next(4), priority = random.Next(-1, 2);
            Sequence? leader = null;
            for (int choice = random.Next(1, 4); choice > 0; choice--)
            {
                all.Add(Make(prompt, Math.Min(random.Next(1, 21), 80 - prompt), content, leader, priority));
                leader ??= all[^1];
                scheduler.Add(all[^1]);
            }
        }

        private static Sequence Make(int prompt, int generated, int content, Sequence? leader, int priority) => new(
            new GenerationRequest
            {
                Id = "model",
                Prompt = [.. Enumerable.Range(0, prompt).Select(i => i < 9 ? i : i * content)],
                Sampling = new SamplingParameters(),
                Priority = priority,
            }, 0, generated, BlockSize)
        { Leader = leader };

        /// <summary>Ends a fetch or a hold.</summary>
        private bool End(bool anything)
        {
            bool hold = holds.Count > 0 && random.Next(2) == 0;
            if (!hold && supplies.Find(supply => supply.Count > 0 && (anything || random.Next(2) == 0)) is { } supply)
                supply.End();
            else if (holds.Count > 0)
                Free();
            else
                return false;
            return true;
        }

        private void Free()
        {
            int place = random.Next(holds.Count);
            foreach (int block in holds[place])
                cache.Pool.Release(block);
            holds.RemoveAt(place);
        }

        /// <summary>Results come one step late.</summary>
        private void Publish(int step)
        {
            foreach (PlannedWork work in running?.Work ?? [])
            {
                Sequence sequence = work.Sequence;
                if (sequence.Finished)
                    continue;
                sequence.PromptDone |= work.Length >= sequence.PromptLength;
                cache.Commit(sequence, Math.Min(work.Length, sequence.Known.Length));
                if (!work.Samples)
                    continue;
                sequence.AddKnown(work.Length % 3);
                if (random.Next(25) == 0)
                    holds.Add(sequence.DetachBlocks());
                else if (sequence.Published < sequence.MaxNew && (step + work.Length) % 37 > 0)
                    continue;
                scheduler.Remove(sequence);
            }
        }

        private void Check(StepPlan plan)
        {
            Assert.InRange(plan.Tokens, 0, options.MaxBatchedTokens);
            Assert.InRange(scheduler.Running.Count + scheduler.Arriving.Count, 0, options.MaxSequences);
            Assert.Equal(plan.Work.Count, plan.Work.Select(work => work.Sequence).Distinct().Count());
            foreach (PlannedWork work in plan.Work)
                Assert.True(!work.Sequence.Finished && work.Sequence.BlockCount * BlockSize >= work.Length && work.Fetched <= work.Start);
            Sequence[] held = [.. scheduler.Running, .. scheduler.Arriving], slotted = [.. held, .. scheduler.Waiting.Where(sequence => sequence.Slot >= 0)];
            Assert.Equal(slotted.Length, slotted.Select(sequence => sequence.Slot).Distinct().Count());
            Assert.All(slotted, sequence => Assert.InRange(sequence.Slot, 0, options.MaxSequences - 1));
            Assert.All(scheduler.Waiting, sequence => Assert.True(sequence is { Finished: false, BlockCount: 0 }));
            Assert.Equal(all.Count(sequence => !sequence.Finished), scheduler.Waiting.Count + held.Count(sequence => !sequence.Finished));
            int[] users = new int[Pool];
            foreach (int block in held.SelectMany(sequence => sequence.Blocks.ToArray()).Concat(holds.SelectMany(blocks => blocks)))
                users[block]++;
            for (int block = 0; block < Pool; block++)
                Assert.Equal(users[block], cache.Pool.References(block));
        }
    }

    /// <summary>Brings some of what is known of a sequence, or nothing, when it is told to.</summary>
    private sealed class Supply(Random random) : IKvSupply
    {
        private readonly List<(Sequence Sequence, int From, int To, int[] Blocks)> begun = [];
        private readonly Queue<(Sequence Sequence, int Computed)> ended = new();

        public int Count => begun.Count + ended.Count;

        public bool Empty { get; set; }

        public void End()
        {
            if (begun.Count == 0)
                return;
            int place = random.Next(begun.Count);
            (Sequence sequence, int from, int to, int[] blocks) = begun[place];
            begun.RemoveAt(place);
            Assert.Equal(blocks, sequence.Blocks.ToArray()); // nobody else may have them yet
            ended.Enqueue((sequence, random.Next(3) == 0 ? 0 : random.Next(from, to + 1)));
        }

        public int Reach(Sequence sequence, int from) => Empty || random.Next(4) == 0 ? 0 : sequence.Known.Length / 2;

        public void Begin(Sequence sequence, int from, int to) => begun.Add((sequence, from, to, sequence.Blocks.ToArray()));

        public void Cancel(Sequence sequence)
        {
        }

        public void Drop(Sequence sequence)
        {
        }

        public bool TryComplete(out Sequence sequence, out int computed)
        {
            bool any = ended.TryDequeue(out (Sequence Sequence, int Computed) first);
            (sequence, computed) = first;
            return any;
        }
    }
}
