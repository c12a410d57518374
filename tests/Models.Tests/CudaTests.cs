using XDeepServe.Kernels;
using XDeepServe.Kernels.Cuda;
using XDeepServe.Models.Layers;

namespace XDeepServe.Models.Tests;

/// <summary>Models on a GPU against what Hugging Face transformers made of the same weights; skipped where there is none.</summary>
[Collection("cuda")]
public sealed class CudaTests
{
    public static TheoryData<string> Tiny => [.. Folders(Places.Root, "tests", "golden")];

    public static TheoryData<string> Shared
    {
        get
        {
            string[] folders = [.. Folders(Places.Root, "..", "shared", "golden"), .. Folders(Places.Root, "..", "shared", "models")];
            return folders.Length > 0 ? [.. folders] : [""];
        }
    }

    /// <summary>Whether to take one case of a model and one run of it, for a sanitizer (XDS_CUDA_SMALL=1).</summary>
    private static bool Small => Environment.GetEnvironmentVariable("XDS_CUDA_SMALL") == "1";

    [Theory]
    [MemberData(nameof(Tiny))]
    public void Models_follow_the_reference(string folder)
    {
        foreach (int chunk in Small ? [7] : new[] { int.MaxValue, 7 })
            Follow(folder, chunk);
    }

    [Fact]
    public void The_embedded_model_follows_the_naive_twin()
    {
        string folder = Path.Combine(Places.Root, "models", "nano-moe");
        Assert.SkipUnless(File.Exists(Path.Combine(folder, "nano-moe-q8_0.gguf")), "The embedded model is absent.");
        using var gpu = new LoadedModel(folder, Open(ElementType.F32));
        using var twin = new LoadedModel(folder, Backends.Create("naive"));
        Random random = new(5);
        foreach (int length in Small ? [9] : new[] { 9, 30 })
        {
            int[] prompt = [.. Enumerable.Range(0, length).Select(_ => random.Next(twin.Model.Config.VocabularySize))];
            using Runner runner = gpu.CreateRunner(), slow = twin.CreateRunner();
            GoldenCase.Of(slow, prompt, Small ? 4 : 48).Check(runner, 7);
        }
    }

    [Theory]
    [MemberData(nameof(Shared))]
    public void Models_beside_the_repository_follow_the_reference(string folder)
    {
        Assert.SkipWhen(folder.Length == 0, "There are no models beside the repository.");
        Follow(folder, int.MaxValue);
    }

    [Fact]
    public void A_model_with_images_follows_the_reference()
    {
        string folder = Places.Golden("llava");
        using var loaded = new LoadedModel(folder, Open(ElementType.F32));
        ImageEncoder encoder = loaded.Model.Images!;
        using ImageBuffers buffers = encoder.CreateBuffers(loaded.Backend);
        using Arena arena = loaded.Backend.CreateArena(Arena.BytesFor(ElementType.F32, encoder.Shape.Rows, encoder.Columns));
        Tensor rows = arena.Allocate(ElementType.F32, encoder.Shape.Rows, encoder.Columns);
        foreach (GoldenCase golden in Cases(folder))
        {
            using Runner runner = loaded.CreateRunner();
            encoder.Encode(loaded.Backend, rows, golden.Pixels!, buffers);
            golden.Check(runner, 7, new EmbeddedRows(1, rows));
        }
    }

    [Theory]
    [MemberData(nameof(Tiny))]
    public void Bfloat16_activations_and_cache_stay_close(string folder) => Approach(folder, null, 0.03f);

    [Theory]
    [MemberData(nameof(Tiny))]
    public void Eight_bit_weights_stay_close(string folder) => Approach(folder, ElementType.Q8_0, 0.05f);

    [Theory]
    [MemberData(nameof(Shared))]
    public void Models_beside_the_repository_stay_close_in_bfloat16(string folder)
    {
        Assert.SkipWhen(folder.Length == 0, "There are no models beside the repository.");
        Approach(folder, null, 0.03f);
    }

    /// <summary>Tokens and logits of a run in singles.</summary>
    private static void Follow(string folder, int chunk)
    {
        using var loaded = new LoadedModel(folder, Open(ElementType.F32));
        foreach (GoldenCase golden in Cases(folder))
        {
            using Runner runner = loaded.CreateRunner();
            golden.Check(runner, chunk);
        }
    }

    /// <summary>Logits of a run in bfloat16, off by a share of their range at most.</summary>
    private static void Approach(string folder, ElementType? quantization, float tolerance)
    {
        using var loaded = new LoadedModel(folder, Open(ElementType.BF16), new ModelOptions(ElementType.BF16, quantization));
        foreach (GoldenCase golden in Cases(folder))
        {
            using Runner runner = loaded.CreateRunner();
            float[] logits = runner.Prefill(new Sequence(golden.Prompt))[^1];
            float range = logits.Max() - logits.Min();
            float worst = golden.LogitIds.Select((id, i) => MathF.Abs(logits[id] - golden.Logits[i]) / range).Max();
            Assert.True(worst <= tolerance, $"{folder}: a logit is off by {worst} of the range");
        }
    }

    private static IEnumerable<GoldenCase> Cases(string folder) => GoldenCase.Read(folder).Take(Small ? 1 : int.MaxValue);

    private static CudaBackend Open(ElementType activations)
    {
        try
        {
            return new CudaBackend(new CudaOptions(Activations: activations, CacheFolder: Path.Combine(Path.GetTempPath(), "xds-kernels")));
        }
        catch (CudaException absence)
        {
            Assert.Skip(absence.Message);
            throw;
        }
    }

    // The reference of llava reads images: a test of its own.
    private static string[] Folders(params string[] parts)
    {
        string folder = Path.GetFullPath(Path.Combine(parts));
        return !Directory.Exists(folder) ? []
            : [.. Directory.GetDirectories(folder).Where(child => File.Exists(Path.Combine(child, "golden.json")) && File.Exists(Path.Combine(child, "config.json")) && !Path.GetFileName(child).StartsWith("llava", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
    }
}
