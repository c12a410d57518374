using System.Diagnostics;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.FlowServe.Tiers;

namespace XDeepServe.FlowServe.Tests;

/// <summary>Engines whose device cache is too small for what they are asked: the rest comes from host memory or from disk.</summary>
public sealed class TierEngineTests : IDisposable
{
    private readonly string folder = Path.Combine(Path.GetTempPath(), $"xds-tiers-{Guid.NewGuid():N}");
    private readonly List<string> complaints = [];

    public static TheoryData<string> Families => ["qwen3", "deepseek_v3", "nano-moe"];

    public void Dispose()
    {
        if (Directory.Exists(folder))
            Directory.Delete(folder, recursive: true);
    }

    [Theory]
    [MemberData(nameof(Families))]
    public async Task A_prompt_that_the_device_has_evicted_comes_from_host_memory(string family)
    {
        using TestEngine engine = new(family, Options(new TierOptions { HostBytes = 64 << 20, AlwaysLoad = true }));
        int[] prompt = engine.Prompt(150, 1);
        int[] first = await engine.Tokens(prompt, TestEngine.Greedy(12));
        await Fill(engine);
        List<OutputDelta> again = await engine.Run(prompt, TestEngine.Greedy(12));
        Assert.Equal(first, TestEngine.Tokens(again));
        Assert.Equal(144, again[0].CachedTokens);
        Assert.Equal((144, 0), (engine.Metrics.Tiers!.HostHits, engine.Metrics.Tiers.DiskHits));
        await engine.Idle();
    }

    [Theory]
    [InlineData(64L << 20, false)]
    [InlineData(0, true)]
    public async Task What_is_told_of_prefixes_covers_what_the_tiers_have_and_no_more(long hostBytes, bool disk)
    {
        using TestEngine engine = new(options: Options(disk ? Disk() : new TierOptions { HostBytes = hostBytes, AlwaysLoad = true }));
        int[] prompt = engine.Prompt(150, 1);
        ulong[] chain = PrefixChain.Of(prompt, null);
        Assert.Equal(0, engine.Shell.SumUpPrefixes().Held(chain));
        await engine.Tokens(prompt, TestEngine.Greedy(12));
        await Fill(engine);
        // Off the device, and still found: so it is told to whoever routes.
        Assert.Equal(128, engine.Shell.SumUpPrefixes().Held(chain));
        Assert.Equal(144, (await engine.Run(prompt, TestEngine.Greedy(12)))[0].CachedTokens);
        await Fill(engine);
        Assert.True(await engine.Shell.ResetPrefixCacheAsync());
        Assert.Empty(engine.Shell.SumUpPrefixes().Names);
    }

    [Fact]
    public async Task What_the_tiers_have_lost_is_soon_told_no_more()
    {
        using TestEngine probe = new();
        using TestEngine engine = new(options: Options(new TierOptions { HostBytes = 12L * probe.Shell.Group.Port.BytesPerPosition * 16, AlwaysLoad = true }));
        int[] prompt = engine.Prompt(150, 1);
        ulong[] chain = PrefixChain.Of(prompt, null);
        await engine.Tokens(prompt, TestEngine.Greedy(12));
        Assert.Equal(128, engine.Shell.SumUpPrefixes().Held(chain));
        long start = Stopwatch.GetTimestamp();
        while (engine.Shell.SumUpPrefixes().Held(chain) > 0)
        {
            await Fill(engine); // host memory has no room for both
            Assert.True(Stopwatch.GetElapsedTime(start) < TimeSpan.FromMinutes(1), "It is told still.");
        }
    }

    [Theory]
    [MemberData(nameof(Families))]
    public async Task What_an_engine_left_on_disk_serves_the_next_one(string family)
    {
        int[] prompt, answer;
        using (TestEngine first = new(family, Options(Disk())))
        {
            prompt = first.Prompt(230, 2);
            answer = await first.Tokens(prompt, TestEngine.Greedy(12));
        }
        using TestEngine second = new(family, Options(Disk()));
        Scanned(second);
        List<OutputDelta> again = await second.Run(prompt, TestEngine.Greedy(12));
        Assert.Equal(answer, TestEngine.Tokens(again));
        Assert.Equal(224, second.Metrics.Tiers!.DiskHits);
        Assert.Equal(second.Metrics.Tiers.ReadBytes, second.Metrics.Tiers.LoadedBytes);
        await second.Idle();
        Assert.Empty(complaints);
    }

    [Fact]
    public async Task What_host_memory_evicts_is_read_from_disk_through_a_window_smaller_than_the_prompt()
    {
        using TestEngine probe = new();
        int blockBytes = probe.Shell.Group.Port.BytesPerPosition * 16;
        using TestEngine engine = new(options: Options(Disk() with { HostBytes = 10 * blockBytes }));
        int[] prompt = engine.Prompt(400, 3);
        int[] first = await engine.Tokens(prompt, TestEngine.Greedy(9));
        await Fill(engine);
        await Saved(engine);
        Assert.Equal(first, await engine.Tokens(prompt, TestEngine.Greedy(9)));
        Assert.InRange(engine.Metrics.Tiers!.DiskHits, 11 * 16, 384); // more than host memory holds
        await engine.Idle();
        await Saved(engine);
        Assert.Equal(0, Tiers(engine).Host.InUse);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Damaged_files_are_refused_and_their_blocks_computed(bool truncated)
    {
        int[] prompt, answer;
        using (TestEngine first = new(options: Options(Disk())))
        {
            prompt = first.Prompt(130, 4);
            answer = await first.Tokens(prompt, TestEngine.Greedy(8));
        }
        foreach (string path in Directory.GetFiles(folder))
        {
            using FileStream file = new(path, FileMode.Open);
            if (truncated)
            {
                file.SetLength(file.Length - 700);
                continue;
            }
            file.Position = file.Length - 700;
            int old = file.ReadByte();
            file.Position--;
            file.WriteByte((byte)~old);
        }
        using TestEngine second = new(options: Options(Disk()));
        Scanned(second);
        Assert.Equal(answer, await second.Tokens(prompt, TestEngine.Greedy(8)));
        Assert.InRange(second.Metrics.Tiers!.DiskHits, 16, 112);
        Assert.Equal(1, second.Metrics.Tiers.Failed);
        Assert.Equal(answer, await second.Tokens(prompt, TestEngine.Greedy(8)));
        await second.Idle();
    }

    [Fact]
    public async Task Blocks_of_another_model_are_not_read()
    {
        int[] prompt, answer;
        using (TestEngine first = new(options: Options(Disk())))
        {
            prompt = first.Prompt(100, 5);
            answer = await first.Tokens(prompt, TestEngine.Greedy(8));
        }
        using TestEngine second = new(options: Options(Disk() with { Model = 8 }));
        Scanned(second);
        Assert.Equal(answer, await second.Tokens(prompt, TestEngine.Greedy(8)));
        Assert.Equal((0, 0), (second.Metrics.Tiers!.DiskHits, second.Metrics.Tiers.Failed));
    }

    [Fact]
    public async Task A_folder_that_cannot_be_used_ends_the_tier_with_one_line_and_not_the_service()
    {
        await File.WriteAllTextAsync(folder, "not a folder", TestContext.Current.CancellationToken);
        try
        {
            using TestEngine engine = new(options: Options(Disk()));
            int[] prompt = engine.Prompt(100, 5);
            int[] first = await engine.Tokens(prompt, TestEngine.Greedy(8));
            await Fill(engine);
            Assert.Equal(first, await engine.Tokens(prompt, TestEngine.Greedy(8)));
            Assert.StartsWith($"The disk cache in {folder} is out of use", Assert.Single(complaints), StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(folder);
        }
    }

    [Fact]
    public async Task A_reset_forgets_all_tiers()
    {
        using TestEngine engine = new(options: Options(Disk()));
        int[] prompt = engine.Prompt(120, 6);
        await engine.Tokens(prompt, TestEngine.Greedy(3));
        await engine.Idle();
        Assert.True(await engine.Shell.ResetPrefixCacheAsync());
        List<OutputDelta> again = await engine.Run(prompt, TestEngine.Greedy(3));
        Assert.Equal(0, again[0].CachedTokens);
        Assert.Equal((0, 0), (engine.Metrics.Tiers!.HostHits, engine.Metrics.Tiers.DiskHits));
    }

    [Fact]
    public async Task Many_requests_with_aborts_through_all_tiers_leave_nothing_in_use_and_change_no_token()
    {
        using TestEngine plain = new();
        int blockBytes = plain.Shell.Group.Port.BytesPerPosition * 16;
        using TestEngine engine = new(options: Options(Disk() with { HostBytes = 24 * blockBytes, FolderBytes = 90 * blockBytes }));
        int[][] prompts = [.. Enumerable.Range(0, 12).Select(i => engine.Prompt(40 + 37 * i, i))];
        int[][] expected = new int[prompts.Length][];
        for (int i = 0; i < prompts.Length; i++)
            expected[i] = await plain.Tokens(prompts[i], TestEngine.Greedy(6));
        Random random = new(7);
        for (int round = 0; round < 12; round++)
        {
            (int Prompt, Generation Generation, bool Aborted)[] asked = [.. Enumerable.Range(0, 8).Select(_ =>
            {
                int prompt = random.Next(prompts.Length);
                return (prompt, engine.Submit(prompts[prompt], TestEngine.Greedy(6)), random.Next(4) == 0);
            })];
            foreach ((int prompt, Generation generation, bool aborted) in asked)
            {
                if (aborted)
                    generation.Dispose();
                else
                    Assert.Equal(expected[prompt], TestEngine.Tokens(await TestEngine.Read(generation)));
            }
        }
        await engine.Idle();
        await Saved(engine);
        Assert.Equal(0, Tiers(engine).Host.InUse);
        Assert.True(engine.Metrics.Tiers!.HostHits + engine.Metrics.Tiers.DiskHits > 0);
        Assert.InRange(Directory.GetFiles(folder).Sum(path => new FileInfo(path).Length), 1, 90 * blockBytes);
        Assert.Empty(complaints);
    }

    [Fact]
    public async Task What_is_held_elsewhere_for_a_request_is_fetched_even_where_the_tiers_have_its_beginning()
    {
        using TestEngine engine = new(options: Options(new TierOptions { HostBytes = 64 << 20, AlwaysLoad = true }));
        OtherSupply supply = new(engine, 149);
        engine.Shell.Group.AddSupply(supply);
        int[] prompt = engine.Prompt(150, 1);
        await engine.Tokens(prompt[..40], TestEngine.Greedy(1));
        await Fill(engine);
        supply.Has = true;
        await engine.Tokens(prompt, TestEngine.Greedy(1));
        Assert.Equal(149, supply.Asked);
        Assert.Equal(0, engine.Metrics.Tiers!.HostHits);
    }

    private static EngineOptions Options(TierOptions tiers) => TestEngine.Options() with { NumBlocksOverride = 32, Tiers = tiers };

    private static CacheTiers Tiers(TestEngine engine) => engine.Shell.Group.Tiers!;

    private static void Scanned(TestEngine engine) => Assert.True(Tiers(engine).Disk!.WaitForScan(TimeSpan.FromSeconds(30)));

    /// <summary>Asks for enough else to evict everything from the device.</summary>
    private static async Task Fill(TestEngine engine)
    {
        await Saved(engine);
        for (int i = 0; i < 3; i++)
            await engine.Tokens(engine.Prompt(400, 100 + i), TestEngine.Greedy(3));
    }

    /// <summary>Waits until the tiers have nothing to do.</summary>
    private static async Task Saved(TestEngine engine)
    {
        for (int i = 0; i < 3000; i++)
        {
            TaskCompletionSource<bool> idle = new(TaskCreationOptions.RunContinuationsAsynchronously);
            engine.Shell.Group.Post(() => idle.SetResult(Tiers(engine).IsIdle));
            if (await idle.Task.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken))
                return;
            await Task.Delay(5, TestContext.Current.CancellationToken);
        }
        Assert.Fail("The tiers find no rest.");
    }

    private TierOptions Disk() => new()
    {
        HostBytes = 64 << 20,
        Folder = folder,
        FolderBytes = 256 << 20,
        Model = 7,
        AlwaysLoad = true,
        Complain = line =>
        {
            lock (complaints)
                complaints.Add(line);
        },
    };

    /// <summary>Holds a request's positions once; brings none of them.</summary>
    private sealed class OtherSupply(TestEngine engine, int positions) : IKvSupply
    {
        private readonly Queue<Sequence> done = new();

        public volatile bool Has;

        public int Asked { get; private set; }

        public int Reach(Sequence sequence, int from) => Has ? positions : 0;

        public void Begin(Sequence sequence, int from, int to)
        {
            (Has, Asked) = (false, to);
            done.Enqueue(sequence);
            engine.Shell.Group.Wake();
        }

        public void Cancel(Sequence sequence)
        {
        }

        public void Drop(Sequence sequence)
        {
        }

        public bool TryComplete(out Sequence sequence, out int computed)
        {
            computed = 0;
            return done.TryDequeue(out sequence!);
        }
    }
}
