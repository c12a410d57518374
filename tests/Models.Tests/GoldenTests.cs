using XDeepServe.Kernels;
using XDeepServe.Models.Layers;

namespace XDeepServe.Models.Tests;

/// <summary>Models against what Hugging Face transformers made of the same weights.</summary>
public class GoldenTests
{
    public static TheoryData<string, string, int> Tiny
    {
        get
        {
            var data = new TheoryData<string, string, int>();
            foreach (string model in (string[])["deepseek_v3", "qwen3"])
            {
                foreach (string backend in Backends.All)
                {
                    data.Add(model, backend, int.MaxValue);
                    data.Add(model, backend, 7);
                }
            }
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Tiny))]
    public void Tiny_models_follow_the_reference(string model, string backend, int chunk) =>
        Check(Places.Golden(model), backend, chunk);

    public static TheoryData<string, string, int> Families
    {
        get
        {
            var data = new TheoryData<string, string, int>();
            foreach (string model in (string[])["deepseek_v2", "deepseek_v2_lite", "glm4_moe", "gpt2", "llama", "llama_tied", "llava", "mistral", "mixtral", "qwen2", "qwen3_moe"])
            {
                data.Add(model, "naive", int.MaxValue);
                data.Add(model, "avx512", int.MaxValue);
                data.Add(model, "portable", 7);
            }
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Families))]
    public void Every_family_follows_the_reference(string model, string backend, int chunk) =>
        Check(Places.Golden(model), backend, chunk);

    [Theory]
    [InlineData("avx512", int.MaxValue)]
    [InlineData("portable", 33)]
    public void Nano_dense_follows_the_reference(string backend, int chunk) =>
        Check(Places.Shared("models", "nano-dense"), backend, chunk);

    [Theory]
    [InlineData("avx512", int.MaxValue)]
    [InlineData("avx512", 5)]
    [InlineData("avx2", int.MaxValue)]
    [InlineData("portable", int.MaxValue)]
    public void Nano_moe_follows_the_reference(string backend, int chunk) =>
        Check(Places.Shared("models", "nano-moe"), backend, chunk);

    private static void Check(string folder, string backend, int chunk)
    {
        using var loaded = new LoadedModel(folder, Backends.Create(backend));
        foreach (GoldenCase golden in GoldenCase.Read(folder))
        {
            using Runner runner = loaded.CreateRunner();
            if (golden.Pixels is null)
            {
                golden.Check(runner, chunk);
                continue;
            }
            ImageEncoder encoder = loaded.Model.Images!;
            using ImageBuffers buffers = encoder.CreateBuffers(loaded.Backend);
            using Arena arena = loaded.Backend.CreateArena(Arena.BytesFor(ElementType.F32, encoder.Shape.Rows, encoder.Columns));
            Tensor rows = arena.Allocate(ElementType.F32, encoder.Shape.Rows, encoder.Columns);
            encoder.Encode(loaded.Backend, rows, golden.Pixels, buffers);
            golden.Check(runner, chunk, new EmbeddedRows(1, rows));
        }
    }
}
