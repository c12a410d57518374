using XDeepServe.Kernels;
using XDeepServe.Kernels.Cpu;

namespace XDeepServe.Models.Tests;

/// <summary>Coarser number formats stay close to the reference.</summary>
public class PrecisionTests
{
    [Theory]
    [InlineData("deepseek_v3", 0.03f)]
    [InlineData("qwen3", 0.03f)]
    public void Bfloat16_activations_and_cache_stay_close(string name, float tolerance) =>
        Check(
            Places.Golden(name), new CpuBackend(new CpuOptions(Threads: 2, PinThreads: false, Activations: ElementType.BF16)),
            new ModelOptions(Cache: ElementType.BF16), tolerance);

    [Theory]
    [InlineData("deepseek_v3")]
    [InlineData("qwen3")]
    public void Eight_bit_weights_stay_close(string name) =>
        Check(Places.Golden(name), Backends.Create("auto"), new ModelOptions(Quantization: ElementType.Q8_0), 0.03f);

    [Fact]
    public void Nano_moe_in_eight_bits_stays_close() =>
        Check(Places.Shared("models", "nano-moe"), Backends.Create("auto"), new ModelOptions(Quantization: ElementType.Q8_0), 0.03f);

    private static void Check(string folder, Backend backend, ModelOptions options, float tolerance)
    {
        using var loaded = new LoadedModel(folder, backend, options);
        foreach (GoldenCase golden in GoldenCase.Read(folder))
        {
            using Runner runner = loaded.CreateRunner();
            float[] logits = runner.Prefill(new Sequence(golden.Prompt))[^1];
            float range = logits.Max() - logits.Min();
            float worst = golden.LogitIds.Select((id, i) => MathF.Abs(logits[id] - golden.Logits[i]) / range).Max();
            Assert.True(worst <= tolerance, $"{folder}: a logit is off by {worst} of the range");
        }
    }
}
