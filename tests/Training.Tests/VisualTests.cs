using System.Text.Json.Nodes;
using TorchSharp;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Rewards;
using XDeepServe.Alignment.Scenes;
using XDeepServe.FlowServe;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models;
using XDeepServe.Models.Images;
using XDeepServe.Models.Loading;
using XDeepServe.Models.Text;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Network;
using XDeepServe.Training.Running;
using XDeepServe.Training.Stages;
using static TorchSharp.torch;
using Model = XDeepServe.Models.Model;
using Tensor = TorchSharp.torch.Tensor;

namespace XDeepServe.Training.Tests;

/// <summary>LLaVA in TorchSharp beside transformers and the engine.</summary>
public sealed class VisualTests
{
    [Fact]
    public void Logits_equal_those_of_transformers()
    {
        string folder = Path.Combine(AppContext.BaseDirectory, "golden", "llava");
        using BaseModel model = new(folder);
        using TrainedWeights weights = new(model.Load(ScoreHead.None, null, scratch: false, 0), _ => false, ScalarType.Float32, CPU);
        Decoder network = new(model.Shape, weights);
        JsonArray cases = JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "golden.json")))!["cases"]!.AsArray();
        float[] pixels = [.. cases[0]!["pixel_values"]!.AsArray().Select(value => value!.GetValue<float>())];
        foreach (JsonNode? one in cases)
        {
            using DisposeScope scope = NewDisposeScope();
            long[] prompt = [.. one!["prompt"]!.AsArray().Select(id => id!.GetValue<long>())];
            int size = model.Shape.Images!.Size;
            // Two rows that show one image each, which is encoded once; the second row is padded.
            Tensor ids = cat([tensor([.. prompt, 5, 6]).unsqueeze(0), tensor([.. prompt, 0, 0]).unsqueeze(0)], 0);
            Pictures pictures = new(tensor(pixels, [1, 3, size, size]), tensor([0L, 0L]));
            Tensor hidden = network.Hidden(ids, pictures);
            float[] expected = [.. one["last_logits"]!.AsArray().Select(value => value!.GetValue<float>())];
            float range = expected.Max() - expected.Min();
            for (int row = 0; row < 2; row++)
            {
                float[] logits = [.. network.Logits(hidden[row, prompt.Length - 1]).data<float>()];
                Assert.All(expected.Zip(logits), pair => Assert.True(MathF.Abs(pair.First - pair.Second) <= 2e-3f * range, $"{pair.First} beside {pair.Second}"));
            }
        }
    }

    [Fact]
    public void What_is_saved_holds_every_tensor_that_was_read()
    {
        string folder = Path.Combine(AppContext.BaseDirectory, "golden", "llava"), saved = Directory.CreateTempSubdirectory("xds-llava-").FullName;
        try
        {
            using BaseModel model = new(folder);
            using TrainedWeights weights = new(model.Load(ScoreHead.None, null, scratch: false, 0), _ => false, ScalarType.Float32, CPU);
            model.Save(saved, weights, ScoreHead.None, null, File.Create);
            using Checkpoint before = Checkpoint.Open(folder), after = Checkpoint.Open(saved);
            string[] names = [.. before.Names];
            Assert.Contains(names, name => name.Contains("post_layernorm", StringComparison.Ordinal)); // which is not run
            Assert.Equal(names.Length, after.Names.Count());
            foreach (string name in names)
            {
                StoredTensor one = before.Get(name, before.TryGet(name, out StoredTensor? found) ? found.Shape : []);
                StoredTensor other = after.Get(after.Names.Single(stored => Plain(stored) == Plain(name)), one.Shape);
                float[] values = new float[one.Columns], written = new float[one.Columns];
                for (int row = 0; row < one.Rows; row++)
                {
                    one.Read(row, values);
                    other.Read(row, written);
                    Assert.Equal(values, written);
                }
            }
        }
        finally
        {
            Directory.Delete(saved, recursive: true);
        }

        static string Plain(string name) => name.Replace("vision_model.", "", StringComparison.Ordinal).Replace("language_model.", "", StringComparison.Ordinal).Replace("model.", "", StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_trained_reward_model_scores_in_the_engine_as_it_did_in_training()
    {
        using SceneModel scenes = new(pairs: 12);
        TrainingSettings settings = scenes.Settings("visual") with { MaxSteps = 3 };
        Assert.True(new Run(settings, _ => { }).Train("bt", null, TestContext.Current.CancellationToken));
        string final = Path.Combine(settings.OutputDir, "final");
        using Loaded loaded = new("bt", settings with { ModelNameOrPath = final, FromScratch = false });
        using DisposeScope scope = NewDisposeScope();
        Batch batch = loaded.Stage.Batch([.. loaded.Examples.Take(5)], CPU);
        float[] trained = [.. loaded.Stage.Loss(loaded.Network, loaded.Network.Hidden(batch.Ids, batch.Pictures), batch).Differences!.data<float>()];
        using Checkpoint checkpoint = Checkpoint.Open(final);
        using CpuBackend backend = new(new CpuOptions(Threads: 1, PinThreads: false));
        using Model model = Model.Load(checkpoint, backend, new ModelOptions());
        Tokenizer tokenizer = checkpoint.LoadTokenizer()!;
        using TeShell shell = new(model, backend, tokenizer, new EngineOptions { MaxModelLength = 256 });
        using PromptReader reader = new(shell);
        ChatTemplate? template = tokenizer.CreateTemplate();
        ScalarRewardModel reward = new(reader, new PromptWriter(tokenizer, template, new ImageInput(model.Config.Images!, ImageProcessor.Read(checkpoint.PreprocessorConfig, model.Config.Images!), tokenizer, template)));
        Alignment.Data.PreferencePair[] pairs = [.. Alignment.Data.PreferenceData.Pairs(settings.TrainData[0], new()).Take(5)];
        for (int i = 0; i < pairs.Length; i++)
        {
            IReadOnlyList<double> scores = await reward.ScoreAsync(pairs[i].Prompt, [pairs[i].Chosen, pairs[i].Rejected], TestContext.Current.CancellationToken);
            Assert.Equal(trained[i], scores[0] - scores[1], 1e-3);
        }
        Assert.True(trained.Max(MathF.Abs) > 1e-2f);
    }

    [Theory]
    [InlineData(false, true)]
    [InlineData(true, true)]
    [InlineData(false, false)]
    public void Images_are_learnt_from_and_parts_can_be_kept_as_they_are(bool again, bool keepsEyes)
    {
        using SceneModel scenes = new(pairs: 6);
        using Loaded loaded = new("bt", scenes.Settings("visual") with { GradientCheckpointing = again });
        using DisposeScope scope = NewDisposeScope();
        Batch batch = loaded.Stage.Batch(loaded.Examples, CPU);
        Assert.Equal(6, batch.Pictures!.Pixels.shape[0]); // both answers show the same
        loaded.Network.Backward(batch.Ids, hidden => loaded.Stage.Loss(loaded.Network, hidden, batch).Losses.sum(), batch.Pictures);
        foreach (string name in (string[])["vision_tower.embeddings.patch_embedding.weight", "vision_tower.encoder.layers.0.self_attn.q_proj.weight", "multi_modal_projector.linear_1.weight", "model.embed_tokens.weight"])
            Assert.True(loaded.Weights[name].grad!.abs().max().item<float>() > 0, name);
        TrainingSettings settings = scenes.Settings("visual") with { MaxSteps = 3, FreezeVisionTower = keepsEyes, FreezeMultiModalProjector = keepsEyes, FreezeLanguageModel = !keepsEyes, GradientCheckpointing = again };
        Assert.True(new Run(settings, _ => { }).Train("bt", null, TestContext.Current.CancellationToken));
        using Loaded trained = new("bt", settings with { ModelNameOrPath = Path.Combine(settings.OutputDir, "final"), FromScratch = false });
        foreach (string name in loaded.Weights.Names)
        {
            bool eyes = name.StartsWith("vision_tower.", StringComparison.Ordinal) || name.StartsWith("multi_modal_projector.", StringComparison.Ordinal);
            Assert.Equal(eyes == keepsEyes && name != BradleyTerry.Head, (loaded.Weights[name] == trained.Weights[name]).all().item<bool>());
        }
    }

    [Fact]
    public void Rankings_of_answers_about_an_image_are_learnt_by_Plackett_Luce()
    {
        using SceneModel scenes = new(pairs: 4);
        string[] rankings = [.. File.ReadLines(scenes.At("visual.train.jsonl")).Select((line, number) =>
        {
            JsonNode pair = JsonNode.Parse(line)!;
            return new JsonObject
            {
                ["prompt"] = pair["prompt"]!.DeepClone(),
                ["image"] = pair["image"]!.DeepClone(),
                ["responses"] = new JsonArray($"There are {number} in all.", (string)pair["rejected"]!, (string)pair["chosen"]!),
                ["ranks"] = new JsonArray(3, 2, 1),
            }.ToJsonString();
        })];
        File.WriteAllLines(scenes.At("rankings.jsonl"), rankings);
        TrainingSettings settings = scenes.Settings("visual") with { TrainData = [scenes.At("rankings.jsonl")], MaxSteps = 30, LearningRate = 3e-3 };
        Assert.True(new Run(settings, _ => { }).Train("bt", null, TestContext.Current.CancellationToken));
        (float before, float after) = (Loss(settings), Loss(settings with { ModelNameOrPath = Path.Combine(settings.OutputDir, "final"), FromScratch = false }));
        Assert.Equal(MathF.Log(6), before, 0.3f); // three answers in any order
        Assert.True(after < before / 2, $"{before} to {after}");

        static float Loss(TrainingSettings settings)
        {
            using Loaded loaded = new("bt", settings);
            using DisposeScope scope = NewDisposeScope();
            Batch batch = loaded.Stage.Batch(loaded.Examples, CPU);
            Assert.Equal((3, 4), (batch.Width, batch.Pictures!.Pixels.shape[0]));
            return loaded.Stage.Loss(loaded.Network, loaded.Network.Hidden(batch.Ids, batch.Pictures), batch).Losses.mean().item<float>();
        }
    }

    [Fact]
    public void Images_that_are_not_there_are_named_before_the_first_step()
    {
        using SceneModel scenes = new(pairs: 3);
        File.WriteAllText(scenes.At("broken.jsonl"), """{"prompt":"?","image":"data:image/png;base64,!","chosen":"There are two in all.","rejected":"There are three in all."}""");
        TrainingSettings settings = scenes.Settings("visual") with { MaxSteps = 1 };
        Assert.Contains("example 1: an image is not valid base64", Refusal(settings with { TrainData = [scenes.At("broken.jsonl")] }), StringComparison.Ordinal);
        File.Delete(scenes.At("images/000001.png"));
        Assert.Contains($"{scenes.At("visual.train.jsonl")}, example 2: the image {scenes.At("images/000001.png")} is not there", Refusal(settings), StringComparison.Ordinal);
        Assert.Contains($"test_data: the image {scenes.At("images/000001.png")} is not there", Refusal(settings with { TrainData = [scenes.At("textual.train.jsonl")], TestData = [$"pairs={scenes.At("visual.train.jsonl")}"] }), StringComparison.Ordinal);

        static string Refusal(TrainingSettings settings) => Assert.Throws<TrainingException>(() => new Run(settings, _ => { }).Train("bt", null, TestContext.Current.CancellationToken)).Message;
    }

    [Theory]
    [InlineData(100)] // cut off
    [InlineData(0)]
    public async Task A_bad_image_ends_the_command_with_its_name(int bytes)
    {
        using SceneModel scenes = new(pairs: 3);
        string image = scenes.At("images/000001.png");
        await File.WriteAllBytesAsync(image, (await File.ReadAllBytesAsync(image, TestContext.Current.CancellationToken))[..bytes], TestContext.Current.CancellationToken);
        Assert.Contains("000001.png", Assert.Throws<ImageException>(() => new Run(scenes.Settings("visual") with { MaxSteps = 2 }, _ => { }).Train("bt", null, TestContext.Current.CancellationToken)).Message, StringComparison.Ordinal);
        Assert.Equal(1, await Program.Main(["bt", "--model_name_or_path", scenes.Folder, "--from_scratch", "true", "--train_data", scenes.At("visual.train.jsonl"), "--output_dir", scenes.At("out"), "--max_steps", "2", "--max_length", "256", "--device", "cpu"]));
    }
}
