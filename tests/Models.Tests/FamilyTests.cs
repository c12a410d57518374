using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using XDeepServe.Kernels;
using XDeepServe.Kernels.Naive;
using XDeepServe.Models.Layers;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models.Tests;

public partial class FamilyTests
{
    private static readonly int[] Prompt = [5, 17, 80, 3, 44, 9, 61, 22, 22, 7, 90, 31, 12, 0, 95, 40, 41, 42, 100, 128, 1, 77, 54, 13, 66, 2, 8, 111, 19, 30];

    public static TheoryData<string> Names => [.. FamilyConfigs.Names];

    [Theory]
    [MemberData(nameof(Names))]
    public void Fast_and_naive_backends_agree_and_chunks_change_nothing(string name)
    {
        using var naive = new LoadedModel(FamilyConfigs.Random(FamilyConfigs.Config(name)), new NaiveBackend());
        using var fast = new LoadedModel(FamilyConfigs.Random(FamilyConfigs.Config(name)), Backends.Create("auto"));
        float[] expected = Logits(naive);
        float range = expected.Max() - expected.Min();
        foreach (int chunk in (int[])[int.MaxValue, 7])
        {
            float[] actual = Logits(fast, chunk);
            for (int i = 0; i < expected.Length; i++)
                Assert.Equal(expected[i], actual[i], 1e-4f * range);
        }
    }

    [Theory]
    [InlineData("transformer.")]
    [InlineData("")]
    public void Gpt2_is_read_with_and_without_its_prefix(string prefix) => SameUnder("gpt2", name =>
    {
        string own = Layer().Replace(name, "h.$1.").Replace("input_layernorm", "ln_1", StringComparison.Ordinal).Replace("post_attention_layernorm", "ln_2", StringComparison.Ordinal)
            .Replace("self_attn.qkv_proj", "attn.c_attn", StringComparison.Ordinal).Replace("self_attn.o_proj", "attn.c_proj", StringComparison.Ordinal)
            .Replace("up_proj", "c_fc", StringComparison.Ordinal).Replace("down_proj", "c_proj", StringComparison.Ordinal)
            .Replace("model.embed_tokens", "wte", StringComparison.Ordinal).Replace("model.embed_positions", "wpe", StringComparison.Ordinal).Replace("model.norm", "ln_f", StringComparison.Ordinal);
        return (prefix + own, own.Contains("c_", StringComparison.Ordinal) && own.EndsWith("weight", StringComparison.Ordinal));
    });

    [Theory]
    [InlineData("language_model.model.", "language_model.", "vision_tower.vision_model.", "")]
    [InlineData("language_model.model.", "language_model.", "vision_tower.", "")]
    [InlineData("model.language_model.", "", "model.vision_tower.", "model.")]
    [InlineData("model.language_model.", "", "model.vision_tower.vision_model.", "model.")]
    public void Llava_is_read_in_every_published_spelling(string text, string head, string tower, string projector) => SameUnder("llava", name => (
        name.StartsWith("vision_tower.", StringComparison.Ordinal) ? tower + name["vision_tower.".Length..]
        : name.StartsWith("multi_modal", StringComparison.Ordinal) ? projector + name
        : name.StartsWith("model.", StringComparison.Ordinal) ? text + name["model.".Length..]
        : head + name, false));

    [Fact]
    public void Mixtral_is_read_under_its_own_names() => SameUnder("mixtral", name => (
        name.Replace(".mlp.", ".block_sparse_moe.", StringComparison.Ordinal).Replace("gate_proj", "w1", StringComparison.Ordinal)
            .Replace("down_proj", "w2", StringComparison.Ordinal).Replace("up_proj", "w3", StringComparison.Ordinal), false));

    [Theory]
    [InlineData("qwen3_moe", 7, 20)]
    [InlineData("mixtral", 5, 92)]
    [InlineData("deepseek_v2", 12, 28)]
    public void Experts_may_lie_in_one_tensor(string family, int count, int width)
    {
        using var plain = new LoadedModel(FamilyConfigs.Random(FamilyConfigs.Config(family)), new NaiveBackend());
        var joined = new SpelledCheckpoint(plain.Checkpoint);
        foreach (string name in plain.Checkpoint.Names)
        {
            Match expert = Expert().Match(name);
            if (!expert.Success)
                joined.Add(name, name);
            else if (expert.Groups[2].Value == "down_proj")
                joined.Join($"{expert.Groups[1]}.down_proj", [count, 60, width], Enumerable.Range(0, count).Select(i => $"{expert.Groups[1]}.{i}.down_proj.weight"));
            else
                joined.Join(
                    $"{expert.Groups[1]}.gate_up_proj", [count, 2 * width, 60],
                    Enumerable.Range(0, count).SelectMany(i => (string[])[$"{expert.Groups[1]}.{i}.gate_proj.weight", $"{expert.Groups[1]}.{i}.up_proj.weight"]));
        }
        using var loaded = new LoadedModel(joined, new NaiveBackend());
        Assert.Equal(Logits(plain), Logits(loaded));
    }

    [Theory]
    [InlineData("deepseek_v3")]
    [InlineData("glm4_moe")]
    public void Draft_modules_are_held_only_if_asked_for_and_there(string family)
    {
        using var without = new LoadedModel(FamilyConfigs.Random(FamilyConfigs.Config(family)), new NaiveBackend());
        using var with = new LoadedModel(FamilyConfigs.Random(FamilyConfigs.Config(family)), new NaiveBackend(), new ModelOptions(Drafts: true));
        Assert.Empty(without.Model.Drafts);
        DraftModule draft = Assert.Single(with.Model.Drafts);
        Assert.Equal((60, 120), (draft.Join.Rows, draft.Join.Columns));
        Assert.IsType<MixtureOfExperts>(draft.Layer.FeedForward);
        Assert.True(with.Model.WeightBytes > without.Model.WeightBytes);
        Assert.Contains("model.layers.3.shared_head.head.weight", with.Checkpoint.Names);
        Assert.DoesNotContain("model.layers.3.enorm.weight", without.Checkpoint.Names);
        Assert.Equal(Logits(without), Logits(with));

        // A file that shares the model's table and output matrix, and one that lacks the module.
        foreach (bool holds in (bool[])[true, false])
        {
            var less = new SpelledCheckpoint(with.Checkpoint);
            foreach (string name in with.Checkpoint.Names)
                if (holds ? !name.Contains("layers.3.embed_tokens", StringComparison.Ordinal) && !name.Contains("shared_head.head", StringComparison.Ordinal) : !name.Contains("layers.3.", StringComparison.Ordinal))
                    less.Add(name, name);
            using var loaded = new LoadedModel(less, new NaiveBackend(), new ModelOptions(Drafts: true));
            Assert.Equal(holds ? 1 : 0, loaded.Model.Drafts.Count);
            Assert.Equal(Logits(without), Logits(loaded));
        }
    }

    private static void SameUnder(string family, Func<string, (string Name, bool Transposed)> spell)
    {
        using var plain = new LoadedModel(FamilyConfigs.Random(FamilyConfigs.Config(family)), new NaiveBackend());
        var spelled = new SpelledCheckpoint(plain.Checkpoint);
        foreach (string name in plain.Checkpoint.Names)
        {
            (string published, bool transposed) = spell(name);
            spelled.Add(published, name, transposed);
        }
        using var loaded = new LoadedModel(spelled, new NaiveBackend());
        Assert.Equal(Logits(plain), Logits(loaded));
    }

    /// <summary>The last logits of a prompt; behind an image, if the model takes them.</summary>
    private static float[] Logits(LoadedModel loaded, int chunk = int.MaxValue)
    {
        using Runner runner = loaded.CreateRunner();
        if (loaded.Model.Images is not { } encoder)
            return runner.Prefill(new Sequence(Prompt), chunk)[^1];
        var random = new Random(4);
        using ImageBuffers buffers = encoder.CreateBuffers(loaded.Backend);
        using Arena arena = loaded.Backend.CreateArena(Arena.BytesFor(ElementType.F32, encoder.Shape.Rows, encoder.Columns));
        Tensor rows = arena.Allocate(ElementType.F32, encoder.Shape.Rows, encoder.Columns);
        encoder.Encode(loaded.Backend, rows, [.. Enumerable.Range(0, encoder.Shape.Pixels).Select(_ => (random.NextSingle() * 4) - 2)], buffers);
        var sequence = new Sequence([1, .. Enumerable.Repeat(encoder.Shape.TokenId, encoder.Shape.Rows), .. Prompt]) { Images = [new EmbeddedRows(1, rows)] };
        return runner.Prefill(sequence, chunk)[^1];
    }

    [GeneratedRegex("^model\\.layers\\.(\\d+)\\.")]
    private static partial Regex Layer();

    [GeneratedRegex("^(.*\\.experts)\\.\\d+\\.(.*)\\.weight$")]
    private static partial Regex Expert();
}
