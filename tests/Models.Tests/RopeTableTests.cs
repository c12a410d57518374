using System.Text.Json.Nodes;
using XDeepServe.Kernels;
using XDeepServe.Kernels.Naive;
using XDeepServe.Models.Layers;

namespace XDeepServe.Models.Tests;

public class RopeTableTests
{
    [Fact]
    public void Plain_rows_are_cosines_then_sines()
    {
        using var backend = new NaiveBackend();
        using Arena arena = backend.CreateArena(300 * 4 * 4 + 64);
        Tensor table = arena.Allocate(ElementType.F32, 300, 4);
        RopeTable.Fill(backend, table, new RopeConfig(100, null));
        float[] values = new float[300 * 4];
        backend.Download<float>(table, values);
        for (int position = 0; position < 300; position++)
        {
            float[] expected = [MathF.Cos(position), MathF.Cos(position * 0.1f), MathF.Sin(position), MathF.Sin(position * 0.1f)];
            for (int i = 0; i < 4; i++)
                Assert.Equal(expected[i], values[(position * 4) + i], 1e-5f);
        }
    }

    [Fact]
    public void Yarn_keeps_short_waves_and_stretches_long_ones()
    {
        var plain = new RopeConfig(10_000, null);
        JsonObject config = TinyModel.Qwen3Config();
        config["rope_scaling"] = JsonNode.Parse("""{"type": "yarn", "factor": 8, "original_max_position_embeddings": 4096}""");
        RopeConfig stretched = ModelConfig.Read(config).Rope;
        float[] before = RopeTable.Frequencies(plain, 64);
        float[] after = RopeTable.Frequencies(stretched, 64);
        Assert.Equal(before[0], after[0]);
        Assert.Equal(before[^1] / 8, after[^1], 1e-9f);
        Assert.InRange(after[16], before[16] / 8, before[16]);
        Assert.Equal((0.1 * Math.Log(8)) + 1, stretched.Yarn!.AttentionFactor, 1e-12);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Equal_betas_leave_a_step(bool truncate)
    {
        JsonObject config = TinyModel.DeepSeekConfig();
        config["rope_theta"] = 50_000;
        config["rope_scaling"] = JsonNode.Parse($$"""
            {
              "type": "yarn", "factor": 32, "beta_fast": 1.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0,
              "original_max_position_embeddings": 4096, "truncate": {{(truncate ? "true" : "false")}}
            }
            """);
        float[] before = RopeTable.Frequencies(new RopeConfig(50_000), 64);
        float[] after = RopeTable.Frequencies(ModelConfig.Read(config).Rope, 64);
        // The wave of pair 19.16 turns once over the original context.
        for (int i = 0; i < before.Length; i++)
            Assert.Equal(i <= 19 ? before[i] : before[i] / 32, after[i], before[i] * 1e-6f);
    }

    [Fact]
    public void Deepseek_scales_the_scores_instead_of_the_table()
    {
        JsonObject config = TinyModel.DeepSeekConfig();
        config["rope_scaling"] = JsonNode.Parse(
            """{"type": "yarn", "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096}""");
        YarnConfig yarn = ModelConfig.Read(config).Rope.Yarn!;
        Assert.Equal(1, yarn.AttentionFactor, 1e-12);
        Assert.Equal(Math.Pow((0.1 * Math.Log(40)) + 1, 2), yarn.ScoreFactor, 1e-12);
    }
}
