using System.Text.Json;
using TorchSharp;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Running;
using XDeepServe.Training.Stages;
using static TorchSharp.torch;

namespace XDeepServe.Training.Tests;

public sealed class SamplesTests
{
    [Fact]
    public void The_answer_with_the_highest_reward_is_picked_and_told_in_the_file_s_numbers()
    {
        using SceneModel scenes = new(pairs: 2);
        TrainingSettings settings = scenes.Settings("visual");
        using Loaded loaded = new("bt", settings);
        IReadOnlyDictionary<string, Merit> means = Samples.Read(scenes.At("samples.jsonl")).Pick(new Judge(loaded.Stage, loaded.Network, settings)).Merits;
        Assert.Equal(["coverage", "hallucination"], means.Keys.Order(StringComparer.Ordinal));
        double all = 0, picked = 0;
        Row[] rows = [.. DataFile.Read(scenes.At("samples.jsonl"))];
        foreach (Row row in rows)
        {
            using DisposeScope scope = NewDisposeScope();
            IReadOnlyList<string> responses = row.Texts("responses");
            IReadOnlyList<Message> prompt = row.WithImages(row.Messages("prompt"), scenes.At("samples.jsonl"));
            double[] rewards = [.. responses.Select(response =>
            {
                Batch batch = loaded.Stage.Batch([loaded.Stage.Ask(new PreferencePair { Prompt = prompt, Chosen = response, Rejected = response })!.Single()], CPU);
                return (double)batch.AtLast(loaded.Network.Hidden(batch.Ids, batch.Pictures)).matmul(loaded.Network.Weights[BradleyTerry.Head].t())[0].item<float>();
            })];
            IReadOnlyList<double> wrong = row.Numbers("hallucination");
            all += wrong.Average() / rows.Length;
            picked += wrong[Array.IndexOf(rewards, rewards.Max())] / rows.Length;
        }
        Assert.Equal(all, means["hallucination"].All, 9);
        Assert.Equal(picked, means["hallucination"].Picked, 9);
        Assert.Equal(rows.Average(row => row.Numbers("hallucination").Max()), means["hallucination"].Highest, 9);
        Assert.InRange(means["hallucination"].Picked, means["hallucination"].Low, means["hallucination"].High);
    }

    [Fact]
    public void A_model_that_has_learnt_a_scene_by_heart_describes_it()
    {
        using SceneModel scenes = new(pairs: 1);
        Row[] rows = [.. DataFile.Read(scenes.At("describe.train.jsonl"))];
        File.WriteAllLines(scenes.At("asked.jsonl"), rows.Select(row => JsonSerializer.Serialize(new { prompt = row.Text("prompt"), image = row.Text("image"), caption = row.Text("completion") })));
        TrainingSettings settings = scenes.Settings("describe") with { MaxSteps = 60, LearningRate = 1e-2, SaveSteps = 60, TestData = [$"describe={scenes.At("asked.jsonl")}"] };
        Assert.True(new Run(settings, _ => { }).Train("sft", null, TestContext.Current.CancellationToken));
        JsonElement line = JsonElement.Parse(File.ReadAllLines(Path.Combine(settings.OutputDir, "test.jsonl")).Single());
        Assert.Equal(("describe", 1), (line.GetProperty("benchmark").GetString(), line.GetProperty("questions").GetInt32()));
        Assert.InRange(line.GetProperty("coverage").GetDouble(), 0.99, 1);
        Assert.InRange(line.GetProperty("hallucination").GetDouble(), 0, 0.01);
        Assert.Throws<TrainingException>(() => new Run(settings with { OutputDir = scenes.At("other"), TrainData = [scenes.At("visual.train.jsonl")] }, _ => { }).Train("bt", null, TestContext.Current.CancellationToken));
        Assert.Throws<DataException>(() => Descriptions.Read(scenes.At("visual.train.jsonl")));
    }

    [Fact]
    public void A_judge_s_pick_wins_its_knock_out()
    {
        using TinyModel tiny = new();
        string[] answers = ["One.", "Two, I think.", "Three?", "Four it is, and more.", "Fifth"];
        TrainingSettings settings = tiny.Settings(tiny.Data("several.jsonl", [new { prompt = "How many?", responses = answers, scores = new[] { 0.1, 0.2, 0.3, 0.4, 0.5 } }]));
        using Loaded loaded = new("gram", settings with { TrainData = [] });
        Judge judge = new(loaded.Stage, loaded.Network, settings);
        SampleReport report = Samples.Read(tiny.At("several.jsonl")).Pick(judge);
        int left = Winner(Winner(Winner(0, 1), Winner(2, 3)), 4);
        Assert.Equal((0.1 * left) + 0.1, report.Merits["scores"].Picked, 9);
        Assert.Equal((0.3, 0.4, 0.5, 0), (report.Merits["scores"].All, report.Merits["scores"].Longest, report.Merits["scores"].Highest, report.TooLong));
        Judge narrow = new(loaded.Stage, loaded.Network, settings with { MaxLength = 10 }); // nothing fits, so the first goes on
        Assert.Equal((0.1, 1), (Samples.Read(tiny.At("several.jsonl")).Pick(narrow).Merits["scores"].Picked, Samples.Read(tiny.At("several.jsonl")).Pick(narrow).TooLong));

        int Winner(int one, int other) =>
            judge.Run([new PreferencePair { Prompt = Message.Question("How many?"), Chosen = answers[one], Rejected = answers[other] }])[0].ChosenIsBetter >= 0.5 ? one : other;
    }

    [Theory]
    [InlineData("""{"prompt":"?","responses":["a"]}""", "at least two")]
    [InlineData("""{"prompt":"?","responses":["a","b"],"score":[1]}""", "1 numbers for 2")]
    [InlineData("""{"prompt":"?","responses":["a","b"]}""", "no question with numbers")]
    public void What_is_wrong_with_a_file_is_said(string line, string said)
    {
        using TinyModel tiny = new();
        File.WriteAllText(tiny.At("bad.jsonl"), line);
        Assert.Contains(said, Assert.Throws<DataException>(() => Samples.Read(tiny.At("bad.jsonl"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_world_s_own_recipe_is_read_and_its_model_drawn()
    {
        string folder = Directory.CreateTempSubdirectory("xds-world-").FullName;
        try
        {
            Alignment.Scenes.SceneWorld.Write(folder, new Alignment.Scenes.SceneWorldSettings { Pairs = 4, Held = 2, Size = 33 });
            Settings.RovrmSettings recipe = Settings.RovrmSettings.Read(Path.Combine(folder, "recipe.yaml"));
            Assert.Equal(Settings.RovrmSettings.PhaseNames, recipe.Phases.Select(phase => phase.Name));
            Assert.All(recipe.Phases, phase => Assert.All(phase.Settings.TrainData, path => Assert.True(File.Exists(path))));
            Assert.All(recipe.Phases[^1].Settings.TestData, test => Assert.True(File.Exists(test.Split('=')[1])));
            using BaseModel model = new(recipe.WarmUp.ModelNameOrPath, scratch: true);
            Assert.Equal(9, model.Shape.Images!.Rows);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
