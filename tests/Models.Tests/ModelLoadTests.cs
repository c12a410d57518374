using System.Text.Json.Nodes;
using XDeepServe.Kernels;
using XDeepServe.Kernels.Naive;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models.Tests;

public class ModelLoadTests
{
    private static readonly int[] Prompt = [5, 17, 80, 3, 44, 9, 61, 22, 22, 7, 90, 31, 12, 0, 95, 40, 41, 42];

    [Theory]
    [InlineData("model.embed_tokens.weight")]
    [InlineData("model.norm.weight")]
    [InlineData("lm_head.weight")]
    [InlineData("model.layers.1.self_attn.kv_b_proj.weight")]
    [InlineData("model.layers.1.mlp.gate.e_score_correction_bias")]
    [InlineData("model.layers.1.mlp.experts.7.up_proj.weight")]
    public void A_missing_tensor_is_named(string name)
    {
        using MemoryCheckpoint checkpoint = TinyModel.Checkpoint(TinyModel.DeepSeekConfig());
        checkpoint.Remove(name);
        Assert.Contains(name, LoadFails(checkpoint), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("model.embed_tokens.weight", 96, 63)]
    [InlineData("model.norm.weight", 63, 0)]
    [InlineData("model.layers.0.input_layernorm.weight", 1, 64)]
    [InlineData("model.layers.1.self_attn.q_a_proj.weight", 64, 32)]
    [InlineData("model.layers.1.mlp.experts.3.down_proj.weight", 64, 16)]
    [InlineData("model.layers.1.mlp.gate.weight", 7, 64)]
    public void A_misshapen_tensor_is_named_with_both_shapes(string name, int rows, int columns)
    {
        using MemoryCheckpoint checkpoint = TinyModel.Checkpoint(TinyModel.DeepSeekConfig());
        long[] shape = columns == 0 ? [rows] : [rows, columns];
        checkpoint.Add(name, ElementType.BF16, 0, shape);
        string message = LoadFails(checkpoint);
        Assert.Contains(name, message, StringComparison.Ordinal);
        Assert.Contains($"[{string.Join(", ", shape)}]", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Projections_of_several_types_are_used_as_they_are()
    {
        float[] Last(Backend backend)
        {
            MemoryCheckpoint checkpoint = TinyModel.Checkpoint(TinyModel.Qwen3Config());
            checkpoint.Add("model.layers.0.mlp.up_proj.weight", ElementType.F32, 0, 96, 64);
            checkpoint.Add("model.layers.1.self_attn.v_proj.weight", ElementType.F32, 0, 64, 64);
            using LoadedModel loaded = new(checkpoint, backend);
            return LastLogits(loaded);
        }
        float[] expected = Last(new NaiveBackend()), actual = Last(Backends.Create("auto"));
        Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First, pair.Second, 1e-4f));
    }

    [Fact]
    public void Experts_must_have_one_type()
    {
        using MemoryCheckpoint checkpoint = TinyModel.Checkpoint(TinyModel.DeepSeekConfig());
        checkpoint.Add("model.layers.1.mlp.experts.3.up_proj.weight", ElementType.F32, 0, 32, 64);
        Assert.Contains("experts.3.up_proj", LoadFails(checkpoint), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(513)]
    public void The_longest_context_stays_within_the_model(int length)
    {
        using MemoryCheckpoint checkpoint = TinyModel.Checkpoint(TinyModel.Qwen3Config());
        Assert.Contains("context", LoadFails(checkpoint, new ModelOptions(MaxModelLength: length)), StringComparison.Ordinal);
    }

    [Fact]
    public void Only_some_types_serve_as_cache_and_quantization()
    {
        using MemoryCheckpoint checkpoint = TinyModel.Checkpoint(TinyModel.Qwen3Config());
        LoadFails(checkpoint, new ModelOptions(Cache: ElementType.Q8_0));
        LoadFails(checkpoint, new ModelOptions(Quantization: ElementType.BF16));
    }

    [Fact]
    public void Progress_rises_to_one()
    {
        var seen = new List<double>();
        using MemoryCheckpoint checkpoint = TinyModel.Checkpoint(TinyModel.Qwen3Config());
        using var backend = new NaiveBackend();
        using var model = Model.Load(checkpoint, backend, new ModelOptions(), new Recorder(seen));
        Assert.Equal(seen.Order(), seen);
        Assert.Equal(1, seen[^1]);
    }

    [Fact]
    public void Layers_for_drafting_do_not_disturb()
    {
        JsonObject config = TinyModel.DeepSeekConfig();
        config["num_nextn_predict_layers"] = 1;
        MemoryCheckpoint checkpoint = TinyModel.Checkpoint(config)
            .Add("model.layers.2.eh_proj.weight", ElementType.BF16, 0, 64, 128)
            .Add("model.layers.2.self_attn.o_proj.weight", ElementType.BF16, 0, 64, 32);
        using var with = new LoadedModel(checkpoint, new NaiveBackend());
        using var without = new LoadedModel(TinyModel.Checkpoint(TinyModel.DeepSeekConfig()), new NaiveBackend());
        Assert.Equal(2, with.Model.Layers.Count);
        Assert.Equal(1, with.Model.Config.DraftLayers);
        Assert.Equal(LastLogits(without), LastLogits(with));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Tied_embeddings_serve_as_output_matrix(bool said)
    {
        JsonObject tied = TinyModel.Qwen3Config();
        tied["tie_word_embeddings"] = true;
        MemoryCheckpoint checkpoint = TinyModel.Checkpoint(tied);
        if (!said)
            tied.Remove("tie_word_embeddings");
        using var loaded = new LoadedModel(checkpoint, new NaiveBackend());
        using var untied = new LoadedModel(TinyModel.Checkpoint(TinyModel.Qwen3Config()), new NaiveBackend());
        Assert.Equal(untied.Model.WeightBytes - (96 * 64 * 2), loaded.Model.WeightBytes);
        Assert.True(LastLogits(loaded).All(float.IsFinite));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Biases_take_part(bool latent)
    {
        JsonObject config = latent ? TinyModel.DeepSeekConfig() : TinyModel.Qwen3Config();
        config["attention_bias"] = true;
        using var biased = new LoadedModel(TinyModel.Checkpoint(config), new NaiveBackend());
        float[] logits = LastLogits(biased);
        Assert.True(logits.All(float.IsFinite));
        foreach (string name in (string[])[latent ? "kv_a_proj_with_mqa" : "v_proj", "o_proj"])
        {
            string bias = $"model.layers.1.self_attn.{name}.bias";
            MemoryCheckpoint changed = TinyModel.Checkpoint(config);
            {
                Assert.True(changed.TryGet(bias, out StoredTensor? old));
                changed.Add(bias, ElementType.BF16, 1, old.Shape);
            }
            using var other = new LoadedModel(changed, new NaiveBackend());
            Assert.NotEqual(logits, LastLogits(other));

            using MemoryCheckpoint lacking = TinyModel.Checkpoint(config);
            lacking.Remove(bias);
            Assert.Contains(bias, LoadFails(lacking), StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Queries_need_not_be_compressed(bool bias)
    {
        JsonObject config = TinyModel.DeepSeekConfig();
        config["q_lora_rank"] = null;
        config["attention_bias"] = bias;
        using var loaded = new LoadedModel(TinyModel.Checkpoint(config), new NaiveBackend());
        Assert.True(LastLogits(loaded).All(float.IsFinite));
    }

    [Theory]
    [InlineData("deepseek_v3")]
    [InlineData("qwen3")]
    public void Quantized_weights_give_nearly_the_same_logits(string name)
    {
        JsonObject Config() => name == "qwen3" ? TinyModel.Qwen3Config() : TinyModel.DeepSeekConfig();
        using var exact = new LoadedModel(TinyModel.Checkpoint(Config()), new NaiveBackend());
        using var rounded = new LoadedModel(TinyModel.Checkpoint(Config()), new NaiveBackend(), new ModelOptions(Quantization: ElementType.Q8_0));
        float[] expected = LastLogits(exact);
        float[] actual = LastLogits(rounded);
        Assert.NotEqual(expected, actual);
        Assert.True(rounded.Model.WeightBytes < exact.Model.WeightBytes);
        float range = expected.Max() - expected.Min();
        for (int i = 0; i < expected.Length; i++)
            Assert.Equal(expected[i], actual[i], 0.05f * range);
    }

    private static float[] LastLogits(LoadedModel loaded)
    {
        using Runner runner = loaded.CreateRunner();
        return runner.Prefill(new Sequence(Prompt))[^1];
    }

    private static string LoadFails(MemoryCheckpoint checkpoint, ModelOptions? options = null)
    {
        using var backend = new NaiveBackend();
        return Assert.Throws<ModelLoadException>(() => Model.Load(checkpoint, backend, options ?? new ModelOptions())).Message;
    }

    private sealed class Recorder(List<double> seen) : IProgress<double>
    {
        public void Report(double value) => seen.Add(value);
    }
}
