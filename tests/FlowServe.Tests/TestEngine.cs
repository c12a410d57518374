using XDeepServe.FlowServe.Speculating;
using XDeepServe.Kernels;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models;
using XDeepServe.Models.Images;
using XDeepServe.Models.Loading;

namespace XDeepServe.FlowServe.Tests;

/// <summary>An engine over one of the tiny reference models, or over random weights for a config.json.</summary>
internal sealed class TestEngine : IDisposable
{
    private readonly Checkpoint checkpoint;
    private readonly Backend backend;
    private readonly CpuBackend[] others; // of the DP groups behind the first
    private readonly Model? draftModel;
    private int requests;

    /// <param name="family">The model.</param>
    /// <param name="options">Settings.</param>
    /// <param name="threaded">Whether groups have threads.</param>
    /// <param name="groups">How many.</param>
    /// <param name="device">Runs the first group; null for two threads of the CPU.</param>
    public TestEngine(string family = "qwen3", EngineOptions? options = null, bool threaded = true, int groups = 1, Backend? device = null)
    {
        backend = device ?? new CpuBackend(new CpuOptions(Threads: 2, PinThreads: false));
        checkpoint = Open(family);
        others = [.. Enumerable.Range(1, groups - 1).Select(_ => new CpuBackend(new CpuOptions(Threads: 1, PinThreads: false)))];
        options ??= Options();
        Model = Model.Load(checkpoint, backend, new ModelOptions(MaxModelLength: 512, Drafts: options.Speculation is { Method: SpeculationMethod.DraftModule }));
        if (options.Speculation is { Method: SpeculationMethod.DraftModel } speculation)
        {
            draftModel = Model.Load(checkpoint, backend, new ModelOptions(MaxModelLength: 512)); // the model itself: all its drafts are right
            options = options with { Speculation = speculation with { DraftModel = draftModel } };
        }
        Shell = new TeShell(Model, [backend, .. others], null, options, published: null, threaded);
    }

    public Model Model { get; }

    public Backend Backend => backend;

    public TeShell Shell { get; }

    public EngineMetrics Metrics => Shell.Metrics[0];

    public static EngineOptions Options() => new()
    {
        MaxModelLength = 512,
        MaxSequences = 8,
        MaxBatchedTokens = 64,
        BlockSize = 16,
        NumBlocksOverride = 128,
        QueueLimit = 4096,
    };

    public static SamplingParameters Greedy(int tokens) => new() { Temperature = 0, MaxTokens = tokens, IgnoreEos = true, Detokenize = false };

    public int[] Prompt(int length, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, length).Select(_ => random.Next(Model.Config.VocabularySize))];
    }

    public Generation Submit(int[] prompt, SamplingParameters sampling, string? salt = null, params IReadOnlyList<PromptImage> images) =>
        Shell.Submit(new GenerationRequest { Id = $"request-{Interlocked.Increment(ref requests)}", Prompt = prompt, Sampling = sampling, CacheSalt = salt, Images = images });

    /// <summary>Runs a request to its end.</summary>
    public async Task<List<OutputDelta>> Run(int[] prompt, SamplingParameters sampling, string? salt = null) => await Read(Submit(prompt, sampling, salt));

    public static async Task<List<OutputDelta>> Read(Generation generation)
    {
        List<OutputDelta> deltas = [];
        using CancellationTokenSource patience = new(TimeSpan.FromSeconds(60));
        await foreach (OutputDelta delta in generation.WithCancellation(patience.Token))
            deltas.Add(delta);
        return deltas;
    }

    public async Task<int[]> Tokens(int[] prompt, SamplingParameters sampling, string? salt = null) => Tokens(await Run(prompt, sampling, salt));

    public static int[] Tokens(IEnumerable<OutputDelta> deltas, int choice = 0) => [.. deltas.Where(delta => delta.Choice == choice).SelectMany(delta => delta.TokenIds)];

    /// <summary>Waits until nothing runs and the counts say so.</summary>
    public async Task Idle()
    {
        for (int i = 0; i < 6000 && (Shell.Unfinished > 0 || Shell.Metrics.Any(group => group.Running + group.Waiting > 0 || group.CacheUsage > 0)); i++)
            await Task.Delay(10);
        Assert.Equal(0, Shell.Unfinished);
        Assert.All(Shell.Metrics, group => Assert.Equal((0, 0, 0.0), (group.Running, group.Waiting, group.CacheUsage)));
    }

    public void Dispose()
    {
        Shell.Dispose();
        draftModel?.Dispose();
        Model.Dispose();
        backend.Dispose();
        Array.ForEach(others, other => other.Dispose());
        checkpoint.Dispose();
    }

    /// <summary>A reference model, random weights, or (nano-moe) the model that comes with the program.</summary>
    private static Checkpoint Open(string family)
    {
        if (family != "nano-moe")
        {
            LoadFormat format = family.EndsWith("_random", StringComparison.Ordinal) ? LoadFormat.Dummy : LoadFormat.Auto;
            return Checkpoint.Open(Path.Combine(AppContext.BaseDirectory, "golden", family), format);
        }
        DirectoryInfo folder = new(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "XDeepServe.slnx")))
            folder = folder.Parent ?? throw new DirectoryNotFoundException("The tests run outside the repository.");
        return Checkpoint.Open(Path.Combine(folder.FullName, "models", "nano-moe"));
    }
}
