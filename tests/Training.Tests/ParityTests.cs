using System.Text.Json.Nodes;
using TorchSharp;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Evaluation;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Rewards;
using XDeepServe.FlowServe;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models;
using XDeepServe.Models.Loading;
using XDeepServe.Models.Text;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Losses;
using XDeepServe.Training.Running;

namespace XDeepServe.Training.Tests;

/// <summary>The engine says of a trained checkpoint what the trainer says of it.</summary>
public sealed class ParityTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("gram")]
    [InlineData("bt")]
    public async Task Verdicts_and_rewards(string stage)
    {
        using TinyModel tiny = new();
        TrainingSettings settings = Train(stage, tiny);
        double[] losses = [.. File.ReadLines(tiny.At("out/log.jsonl")).Select(line => JsonNode.Parse(line)!["loss"]!.GetValue<double>())];
        Assert.True(stage == "gram" || losses[^4..].Average() < 0.5 * losses[..4].Average(), "a scalar model learns yes from no"); // a tiny judge does not
        using Loaded loaded = new(stage, settings);
        PreferencePair[] pairs = [.. PreferenceData.Pairs(tiny.Pairs(9, "new.jsonl"), new())];
        IReadOnlyList<Verdict> expected = new Judge(loaded.Stage, loaded.Network, settings).Run(pairs);
        using Engine engine = new(tiny.At("out/final"));
        PromptWriter writer = new(engine.Tokenizer, engine.Tokenizer.CreateTemplate());
        IRewardModel rewards = IRewardModel.Of(engine.Reader, writer, engine.LabelNames, new JudgePrompt());
        foreach ((PreferencePair pair, Verdict verdict) in pairs.Zip(expected))
        {
            Assert.Equal(verdict.ChosenIsBetter!.Value, (await rewards.CompareAsync(pair.Prompt, pair.Chosen, pair.Rejected, Cancel)).FirstIsBetter, 1e-4);
            if (rewards is not ScalarRewardModel)
                continue;
            IReadOnlyList<double> scores = await rewards.ScoreAsync(pair.Prompt, [pair.Chosen, pair.Rejected], Cancel);
            Assert.Equal(Math.Log(verdict.ChosenIsBetter.Value / (1 - verdict.ChosenIsBetter.Value)), scores[0] - scores[1], 1e-3);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Representations_and_what_is_read_from_them(bool known)
    {
        using TinyModel tiny = new();
        if (!known)
            RemoveToken(tiny);
        TrainingSettings settings = Train("lrhp", tiny);
        using Loaded loaded = new("lrhp", settings);
        using Engine engine = new(tiny.At("out/final"));
        Assert.Equal(known ? 8192 : 8193, loaded.Model.Shape.VocabularySize);
        Assert.True(engine.Tokenizer.TryGetId(PreferencePrompt.Token, out int id) && engine.Tokenizer.IsSpecial(id));
        Assert.Equal(known ? 8184 : 8192, id);
        Assert.NotEqual(0, loaded.Weights["score.bias"].item<float>());
        foreach (PreferencePair pair in PreferenceData.Pairs(tiny.Pairs(5, "new.jsonl"), new()))
        {
            (float[] expected, float difference) = Represent(loaded, loaded.Stage.Ask(pair)![0]); // the chosen answer first, as at extraction
            float[] feature = await new PairFeatures(engine.Reader, engine.Tokenizer, new LengthRewardModel()).ReadAsync(pair, PairFeature.Preference, Cancel);
            Assert.All(expected.Zip(feature), values => Assert.Equal(values.First, values.Second, 1e-3f));
            float score = (await engine.Reader.ReadAsync(PreferencePrompt.Encode(engine.Tokenizer, pair.Prompt, pair.Chosen, pair.Rejected), Readout.Scores, Cancel))[0];
            Assert.Equal(difference, score, 1e-3f);
        }
        // The engine's reward model says of a pair what the trainer's tests say of it.
        PreferencePair[] asked = [.. PreferenceData.Pairs(tiny.At("new.jsonl"), new())];
        IReadOnlyList<Verdict> verdicts = new Judge(loaded.Stage, loaded.Network, settings).Run(asked);
        IRewardModel rewards = IRewardModel.Of(engine.Reader, new PromptWriter(engine.Tokenizer, engine.Tokenizer.CreateTemplate()), engine.LabelNames, new JudgePrompt());
        Assert.IsType<PreferenceRewardModel>(rewards);
        foreach ((PreferencePair pair, Verdict verdict) in asked.Zip(verdicts))
        {
            Preference preference = await rewards.CompareAsync(pair.Prompt, pair.Chosen, pair.Rejected, Cancel);
            Assert.Equal(verdict.ChosenIsBetter!.Value, preference.FirstIsBetter, 1e-3);
            Assert.Equal(verdict.Consistent, preference.Consistent);
        }
    }

    [Fact]
    public async Task Likelihoods_of_a_policy_s_answers()
    {
        using TinyModel tiny = new();
        TrainingSettings settings = Train("dpo", tiny);
        using Loaded loaded = new("dpo", settings);
        using Engine engine = new(tiny.At("out/final"));
        foreach (PreferencePair pair in PreferenceData.Pairs(tiny.Pairs(5, "new.jsonl"), new()))
        {
            Example asked = loaded.Stage.Ask(pair)!.Single();
            foreach ((Batching.Sequence sequence, float sum) in asked.Sequences.Zip(Sums(loaded, asked)))
            {
                IReadOnlyList<float> logprobs = await engine.Reader.LikelihoodAsync(new WrittenPrompt(sequence.Ids, []), Cancel);
                Assert.Equal(-sum / sequence.LearnedTokens, logprobs.Skip(sequence.Learned[0].Start - 1).Average(), 1e-3f);
            }
        }
    }

    // Autograd's switch is the thread's, so no_grad ends before anything is awaited.
    private static (float[] Hidden, float Difference) Represent(Loaded loaded, Example example)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        using IDisposable unrecorded = torch.no_grad();
        Batch batch = new([example], torch.CPU);
        torch.Tensor hidden = loaded.Network.Hidden(batch.Ids);
        return (batch.AtLast(hidden).data<float>().ToArray(), loaded.Stage.Loss(loaded.Network, hidden, batch).Differences!.item<float>());
    }

    private static float[] Sums(Loaded loaded, Example example)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        using IDisposable unrecorded = torch.no_grad();
        Batch batch = new([example], torch.CPU);
        return TokenLoss.Sums(loaded.Network, loaded.Network.Hidden(batch.Ids), batch).data<float>().ToArray();
    }

    // Settings that load what was trained.
    private static TrainingSettings Train(string stage, TinyModel tiny)
    {
        TrainingSettings settings = tiny.Settings(tiny.Pairs(24)) with { NumTrainEpochs = 4, PerDeviceTrainBatchSize = 3, GradientAccumulationSteps = 2, LearningRate = 1e-2 };
        Assert.True(new Run(settings, _ => { }).Train(stage, null, Cancel));
        return settings with { ModelNameOrPath = tiny.At("out/final"), FromScratch = false, TrainData = [] };
    }

    private static void RemoveToken(TinyModel tiny)
    {
        JsonNode tokenizer = JsonNode.Parse(File.ReadAllText(tiny.At("tokenizer.json")))!, settings = JsonNode.Parse(File.ReadAllText(tiny.At("tokenizer_config.json")))!;
        JsonArray added = tokenizer["added_tokens"]!.AsArray();
        JsonNode token = added.Single(token => (string)token!["content"]! == PreferencePrompt.Token)!;
        settings["added_tokens_decoder"]?.AsObject().Remove($"{token["id"]}");
        added.Remove(token);
        File.WriteAllText(tiny.At("tokenizer.json"), tokenizer.ToJsonString());
        File.WriteAllText(tiny.At("tokenizer_config.json"), settings.ToJsonString());
    }

    private sealed class Engine : IDisposable
    {
        private readonly Checkpoint checkpoint;
        private readonly CpuBackend backend = new(new CpuOptions(Threads: 2, PinThreads: false));
        private readonly Model model;
        private readonly TeShell shell;

        public Engine(string folder)
        {
            checkpoint = Checkpoint.Open(folder);
            model = Model.Load(checkpoint, backend, new ModelOptions(MaxModelLength: 512));
            Tokenizer = checkpoint.LoadTokenizer()!;
            shell = new TeShell(model, backend, Tokenizer, new EngineOptions { MaxModelLength = 512, MaxSequences = 8, NumBlocksOverride = 512 });
            Reader = new PromptReader(shell);
        }

        public Tokenizer Tokenizer { get; }

        public IReadOnlyList<string> LabelNames => model.Config.LabelNames;

        public PromptReader Reader { get; }

        public void Dispose()
        {
            Reader.Dispose();
            shell.Dispose();
            model.Dispose();
            backend.Dispose();
            checkpoint.Dispose();
        }
    }
}
