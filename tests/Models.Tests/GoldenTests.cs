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
            golden.Check(runner, chunk);
        }
    }
}
