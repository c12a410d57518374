namespace XDeepServe.Models.Tests;

/// <summary>The trained model against what transformers made of it.</summary>
public class NanoTests
{
    [Theory]
    [InlineData("naive", int.MaxValue)]
    public void Nano_moe_follows_the_reference(string backend, int chunk)
    {
        string folder = Places.Shared("models", "nano-moe");
        using var loaded = new LoadedModel(folder, Backends.Create(backend));
        foreach (GoldenCase golden in GoldenCase.Read(folder))
        {
            using Runner runner = loaded.CreateRunner();
            golden.Check(runner, chunk);
        }
    }
}
