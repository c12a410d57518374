using System.Runtime.ExceptionServices;
using System.Text.Json.Nodes;
using XDeepServe.FlowServe;
using XDeepServe.FlowServe.Speculating;
using XDeepServe.Kernels;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Kernels.Cuda;
using XDeepServe.Models;
using XDeepServe.Models.Loading;

namespace XDeepServe.Transformerless.Tests.Mixture;

/// <summary>Prompts for a model, the tokens that one engine in one process gives, and the same asked of many engines.</summary>
internal static class Served
{
    /// <summary>Families with experts, and a trained model.</summary>
    public static IReadOnlyList<string> Families { get; } = ["deepseek_v2", "deepseek_v3", "qwen3_moe", "mixtral", "nano-moe"];

    /// <summary>Families with shared experts: one in a layer, or two that are one unit; and a trained model.</summary>
    public static IReadOnlyList<string> FamiliesWithSharedExperts { get; } = ["deepseek_v2", "deepseek_v2_lite", "deepseek_v3", "glm4_moe", "nano-moe"];

    public static EngineOptions Options { get; } = new()
    {
        MaxModelLength = 512,
        MaxSequences = 8,
        MaxBatchedTokens = 48, // so that prompts come in pieces
        NumBlocksOverride = 128,
    };

    public static string Folder(string model)
    {
        if (model != "nano-moe")
            return Path.Combine(AppContext.BaseDirectory, "golden", model);
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "XDeepServe.slnx")))
            folder = folder.Parent;
        return Path.Combine(folder!.FullName, "models", model);
    }

    public static Backend Cpu() => new CpuBackend(new CpuOptions(Threads: 1, PinThreads: false));

    /// <summary>The GPU, of which every rank has a stream of its own; skips the test where there is none.</summary>
    public static Backend Gpu()
    {
        try
        {
            return new CudaBackend(new CudaOptions(CacheFolder: Path.Combine(Path.GetTempPath(), "xds-kernels")));
        }
        catch (CudaException absence)
        {
            Assert.Skip(absence.Message);
            throw;
        }
    }

    /// <summary>The reference's prompts where there are some, each also cut at odd places so that there are more than engines.</summary>
    public static int[][] Prompts(string folder)
    {
        string golden = Path.Combine(folder, "golden.json");
        Random random = new(11);
        int[][] whole = File.Exists(golden)
            ? [.. JsonNode.Parse(File.ReadAllText(golden))!["cases"]!.AsArray().Take(4).Select(item => item!["prompt"]!.AsArray().Select(id => id!.GetValue<int>()).ToArray())]
            : [.. new[] { 37, 5, 70, 19 }.Select(length => Enumerable.Range(0, length).Select(_ => random.Next(8000)).ToArray())];
        return [.. whole, .. whole.Select(prompt => prompt[..Math.Max(1, prompt.Length * 2 / 3)]), .. whole.Select(prompt => prompt[..Math.Max(1, prompt.Length / 3)])];
    }

    public static SamplingParameters Greedy(int tokens) => new() { Temperature = 0, MaxTokens = tokens, IgnoreEos = true, Detokenize = false };

    /// <summary>What one engine with the whole model gives.</summary>
    public static async Task<int[][]> Colocated(string folder, int[][] prompts, int tokens) => (await Colocated(folder, prompts, tokens, Options)).Tokens;

    /// <summary>The same with other settings, and what was proposed meanwhile.</summary>
    public static async Task<(int[][] Tokens, SpeculationMetrics? Proposed)> Colocated(string folder, int[][] prompts, int tokens, EngineOptions options, Func<Backend>? device = null)
    {
        using Checkpoint checkpoint = Checkpoint.Open(folder);
        using Backend backend = (device ?? Cpu)();
        using Model model = Model.Load(checkpoint, backend, new ModelOptions(MaxModelLength: 512, Drafts: options.Speculation is not null));
        using TeShell shell = new(model, backend, null, options);
        return (await Ask([shell], prompts, tokens), shell.Metrics[0].Speculation);
    }

    /// <summary>Gives prompts to engines in turn, all at once.</summary>
    public static async Task<int[][]> Ask(IReadOnlyList<TeShell> shells, int[][] prompts, int tokens) =>
        await Task.WhenAll(prompts.Select((prompt, i) => Read(Ask(shells[i % shells.Count], prompt, tokens, i))));

    public static Generation Ask(TeShell shell, int[] prompt, int tokens, int number) =>
        shell.Submit(new GenerationRequest { Id = $"request-{number}", Prompt = prompt, Sampling = Greedy(tokens) });

    public static async Task<int[]> Read(Generation generation)
    {
        List<int> tokens = [];
        using CancellationTokenSource patience = new(TimeSpan.FromSeconds(100));
        await foreach (OutputDelta delta in generation.WithCancellation(patience.Token))
            tokens.AddRange(delta.TokenIds);
        if (generation.Failure is { } failure)
            ExceptionDispatchInfo.Throw(failure);
        return [.. tokens];
    }
}
