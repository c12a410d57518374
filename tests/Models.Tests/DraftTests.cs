using System.Text.Json;
using System.Text.Json.Nodes;
using XDeepServe.Kernels.Naive;

namespace XDeepServe.Models.Tests;

public class DraftTests
{
    [Theory]
    [InlineData("avx512", int.MaxValue)]
    [InlineData("portable", 9)]
    public void Drafts_of_nano_moe_follow_the_reference(string backend, int chunk)
    {
        string folder = Places.Shared("models", "nano-moe");
        using var loaded = new LoadedModel(folder, Backends.Create(backend), new ModelOptions(Drafts: true));
        int cases = 0;
        foreach (JsonNode? item in JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "golden.json")))!["prompts"]!.AsArray())
        {
            if (item!["mtp_draft48"] is not { } drafts)
                continue;
            int[] prompt = item["ids"].Deserialize<int[]>()!;
            using Runner runner = loaded.CreateRunner();
            float[][] rows = runner.DraftAll(new Sequence([.. prompt, .. item["greedy48"].Deserialize<int[]>()!]), chunk);
            Assert.Equal(drafts.Deserialize<int[]>(), rows[(prompt.Length - 1)..].Select(Runner.Best));
            cases++;
        }
        Assert.Equal(3, cases);
    }

    [Theory]
    [InlineData("deepseek_v3")]
    [InlineData("glm4_moe")]
    public void Drafts_agree_with_the_naive_twin_whole_and_in_chunks(string family)
    {
        int[] tokens = [.. Enumerable.Range(0, 29).Select(i => i * 7 % 50)];
        var options = new ModelOptions(Drafts: true);
        using var naive = new LoadedModel(FamilyConfigs.Random(FamilyConfigs.Config(family)), new NaiveBackend(), options);
        using Runner reference = naive.CreateRunner();
        float[][] expected = reference.DraftAll(new Sequence(tokens));
        foreach (string backend in Backends.All)
        {
            using var loaded = new LoadedModel(FamilyConfigs.Random(FamilyConfigs.Config(family)), Backends.Create(backend), options);
            using Runner runner = loaded.CreateRunner();
            foreach (int chunk in new[] { int.MaxValue, 5, 1 })
            {
                float[][] actual = runner.DraftAll(new Sequence(tokens), chunk);
                Assert.Equal(tokens.Length - 1, actual.Length);
                for (int row = 0; row < actual.Length; row++)
                    for (int i = 0; i < actual[row].Length; i++)
                        Assert.Equal(expected[row][i], actual[row][i], 2e-3f);
            }
        }
    }

    [Fact]
    public void The_embedded_model_keeps_its_draft_module()
    {
        using var loaded = new LoadedModel(Path.Combine(Places.Root, "models", "nano-moe"), Backends.Create("avx512"), new ModelOptions(Drafts: true));
        Assert.Single(loaded.Model.Drafts);
        Assert.Equal(loaded.Model.Config.Layers + 1, loaded.Model.Cache.Layers.Count);
    }
}
