using XDeepServe.Kernels;
using XDeepServe.Kernels.Naive;

namespace XDeepServe.Models.Tests;

/// <summary>Models against what Hugging Face transformers made of the same weights.</summary>
public class GoldenTests
{
    [Theory]
    [InlineData("deepseek_v3")]
    [InlineData("qwen3")]
    public void Naive_backend_follows_the_reference(string name)
    {
        using var loaded = new LoadedModel(Places.Golden(name), new NaiveBackend());
        foreach (GoldenCase golden in GoldenCase.Read(Places.Golden(name)))
        {
            using Runner runner = loaded.CreateRunner();
            golden.Check(runner);
        }
    }

    [Theory]
    [InlineData("deepseek_v3")]
    [InlineData("qwen3")]
    public void Chunks_do_not_change_the_answer(string name)
    {
        using var loaded = new LoadedModel(Places.Golden(name), new NaiveBackend());
        GoldenCase golden = GoldenCase.Read(Places.Golden(name))[^1];
        using Runner runner = loaded.CreateRunner();
        golden.Check(runner, chunk: 7);
    }
}
