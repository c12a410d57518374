using System.Text.Json;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Scenes;
using XDeepServe.Models.Images;

namespace XDeepServe.Cli.Tests;

/// <summary>Reward models that see.</summary>
public sealed class ImageRewardTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("visual").FullName;

    public ImageRewardTests()
    {
        SceneTokenizer.Write(folder);
        File.WriteAllText(At("config.json"), $$"""
            {
              "architectures": ["LlavaForSequenceClassification"], "model_type": "llava", "image_token_index": {{SceneTokenizer.ImageId}}, "id2label": {"0": "reward"},
              "vision_config": {"model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 24, "patch_size": 8},
              "text_config": {"model_type": "llama", "vocab_size": {{SceneTokenizer.Count}}, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512}
            }
            """);
        for (int i = 0; i < 2; i++)
            File.WriteAllBytes(At($"{i}.png"), PngWriter.Encode(Scene.Draw(new Random(i)).Render(40)));
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public async Task The_same_answers_to_another_image_score_differently()
    {
        double[] first = await Score("--image", At("0.png")), again = await Score("--image", At("0.png")), other = await Score("--image", At("1.png")), none = await Score();
        Assert.Equal(first, again);
        Assert.NotEqual(first, other);
        Assert.NotEqual(first, none);
        await File.WriteAllLinesAsync(At("input.jsonl"), Enumerable.Range(0, 2).Select(i => $$"""{"prompt":"<image>\nDescribe the image.","image":"{{i}}.png","responses":["It is one.","It is two."]}"""), TestContext.Current.CancellationToken);
        (int code, string output, string errors) = await CommandTests.Run("score", "--model", folder, "--load-format", "dummy", "--json", "--input", At("input.jsonl"));
        Assert.True(code == 0, errors);
        Assert.Equal([.. first, .. other], output.Split('\n', StringSplitOptions.RemoveEmptyEntries).SelectMany(Scores));
        (code, output, errors) = await CommandTests.Run("best-of-n", "--model", folder, "--load-format", "dummy", "--json", "--input", At("input.jsonl"));
        Assert.True(code == 0, errors);
        Assert.Equal(first[0] >= first[1] ? 0 : 1, JsonElement.Parse(output.Split('\n')[0]).GetProperty("index").GetInt32());
    }

    [Fact]
    public async Task What_is_no_image_is_refused_by_name()
    {
        await File.WriteAllTextAsync(At("text.png"), "no image", TestContext.Current.CancellationToken);
        (int code, string _, string errors) = await CommandTests.Run("score", "--model", folder, "--load-format", "dummy", "--prompt", "?", "--response", "one", "--image", At("text.png"));
        Assert.Equal(1, code);
        Assert.Contains("text.png: The image is neither PNG nor JPEG", errors, StringComparison.Ordinal);
        (code, _, errors) = await CommandTests.Run("score", "--reward", "likelihood", "--prompt", "?", "--response", "one", "--image", At("0.png"));
        Assert.Equal(1, code);
        Assert.Contains("takes text only", errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Pairs_that_are_kept_or_selected_keep_their_images()
    {
        string[] rows = [.. Enumerable.Range(0, 2).Select(i => $$"""{"prompt":"<image>\nDescribe the image.","{{(i == 0 ? "image\":\"0.png\"" : "images\":[\"1.png\"]")}},"chosen":"It is one.","rejected":"It is two.","score_chosen":2,"score_rejected":0.5}""")];
        await File.WriteAllLinesAsync(At("pairs.jsonl"), [rows[0], """{"prompt":"q","chosen":"a","rejected":"a"}""", rows[1]], TestContext.Current.CancellationToken);
        string other = Directory.CreateDirectory(At("other")).FullName, kept = Path.Combine(other, "kept.jsonl"), selected = At("selected.jsonl");
        (int code, string _, string errors) = await CommandTests.Run("represent", At("pairs.jsonl"), "--feature", "reward", "--model", folder, "--load-format", "dummy", "--out", At("features"), "--kept", kept);
        Assert.True(code == 0, errors);
        (code, _, errors) = await CommandTests.Run("select", "--method", "all", "--candidates", At("features"), "--targets", At("features"), "--keep", "2", "--pairs", kept, "--out", selected);
        Assert.True(code == 0, errors);
        foreach (string file in new[] { kept, selected })
            Assert.Equal([("Describe the image.", At("0.png"), 1.5), ("Describe the image.", At("1.png"), 1.5)], PreferenceData.Pairs(file, new DataCounts()).Select(pair => (pair.Prompt[0].Content, pair.Prompt[0].Images.Single(), pair.Margin!.Value)));
    }

    private async Task<double[]> Score(params string[] image)
    {
        (int code, string output, string errors) = await CommandTests.Run(["score", "--model", folder, "--load-format", "dummy", "--json", "--prompt", "Describe the image.", "--response", "It is one.", "--response", "It is two.", .. image]);
        Assert.True(code == 0, errors);
        return Scores(output);
    }

    private static double[] Scores(string line) => [.. JsonElement.Parse(line).EnumerateArray().Select(item => item.GetProperty("score").GetDouble())];

    private string At(string name) => Path.Combine(folder, name);
}
