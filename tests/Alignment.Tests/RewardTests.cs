using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Ranking;
using XDeepServe.Alignment.Rewards;
using XDeepServe.FlowServe;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models;
using XDeepServe.Models.Loading;
using XDeepServe.Models.Text;

namespace XDeepServe.Alignment.Tests;

/// <summary>Reward models on a real engine and the embedded model. It was not trained to judge: what is tested is arithmetic.</summary>
public sealed class RewardTests : IDisposable
{
    private static readonly IReadOnlyList<Message> s_question = Message.Question("Name a colour of the sky.");
    private readonly Checkpoint checkpoint = Checkpoint.Open(Path.Combine(AppContext.BaseDirectory, "nano-moe"));
    private readonly CpuBackend backend = new(new CpuOptions(Threads: 2, PinThreads: false));
    private readonly Model model;
    private readonly TeShell shell;
    private readonly PromptReader reader;
    private readonly PromptWriter writer;

    public RewardTests()
    {
        model = Model.Load(checkpoint, backend, new ModelOptions(MaxModelLength: 1024));
        Tokenizer tokenizer = checkpoint.LoadTokenizer()!;
        shell = new TeShell(model, backend, tokenizer, new EngineOptions { MaxModelLength = 1024, MaxSequences = 8, NumBlocksOverride = 512 });
        reader = new PromptReader(shell);
        writer = new PromptWriter(tokenizer, tokenizer.CreateTemplate());
    }

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_judge_is_asked_in_both_orders()
    {
        JudgePrompt judge = new();
        GenerativeRewardModel rewards = new(reader, writer, judge);
        double blueFirst = await LabelShare("Blue.", "A potato."), blueSecond = 1 - await LabelShare("A potato.", "Blue.");
        Preference preference = await rewards.CompareAsync(s_question, "Blue.", "A potato.", Cancel);
        Assert.Equal((blueFirst + blueSecond) / 2, preference.FirstIsBetter, 5);
        Assert.Equal(blueFirst > 0.5 == blueSecond > 0.5, preference.Consistent);
        Preference turned = await rewards.CompareAsync(s_question, "A potato.", "Blue.", Cancel);
        Assert.Equal(1, preference.FirstIsBetter + turned.FirstIsBetter, 5);
        IReadOnlyList<double> scores = await rewards.ScoreAsync(s_question, ["Blue.", "A potato."], Cancel);
        Assert.Equal(preference.FirstIsBetter, scores[0], 5);
        Assert.Equal(scores[0], (await rewards.RewardAsync(s_question, "A potato.", ["Blue."], Cancel))[0], 5);
        Assert.Equal(3, (await rewards.ScoreAsync(s_question, ["Blue.", "Grey, often.", "A potato."], Cancel)).Count);
        Assert.Contains("give another", (await Assert.ThrowsAsync<ArgumentException>(() => rewards.ScoreAsync(s_question, ["Blue."], Cancel))).Message, StringComparison.Ordinal);

        // What generation says of the two labels is the reference.
        async Task<double> LabelShare(string a, string b)
        {
            int[] prompt = writer.Encode(judge.Write(s_question, a, b), opensAnswer: true);
            using Generation generation = shell.Submit(new GenerationRequest
            {
                Id = "reference",
                Prompt = prompt,
                Sampling = new SamplingParameters { Temperature = 0, MaxTokens = 1, Logprobs = 20, LogitBias = [(writer.SingleToken("A"), 90), (writer.SingleToken("B"), 90)] },
            });
            List<OutputDelta> deltas = [];
            await foreach (OutputDelta delta in generation)
                deltas.Add(delta);
            IReadOnlyList<float> labels = await reader.ReadAsync(prompt, Readout.Labels([writer.SingleToken("A"), writer.SingleToken("B")]), Cancel);
            Assert.Equal(labels[0] >= labels[1] ? writer.SingleToken("A") : writer.SingleToken("B"), deltas[0].TokenIds[0]);
            return Math.Exp(labels[0]) / (Math.Exp(labels[0]) + Math.Exp(labels[1]));
        }
    }

    [Fact]
    public async Task Likelihood_is_the_mean_of_the_answers_tokens()
    {
        LikelihoodRewardModel rewards = new(reader, writer);
        IReadOnlyList<double> scores = await rewards.ScoreAsync(s_question, ["The sky is blue.", "xq zv qqk", ""], Cancel);
        Assert.True(scores[0] > scores[1]);
        Assert.Equal(double.NegativeInfinity, scores[2]);
        int[] question = writer.Encode(s_question, opensAnswer: true), answer = writer.Tokenizer.Encode("The sky is blue.");
        double sum = 0;
        for (int i = 0; i < answer.Length; i++)
            sum += (await reader.ReadAsync([.. question, .. answer[..i]], Readout.Labels([answer[i]]), Cancel))[0];
        Assert.Equal(sum / answer.Length, scores[0], 3);
    }

    [Fact]
    public async Task Baselines_and_judges_pick_the_best_of_several()
    {
        Assert.Equal(1, await new BestOfN(new LengthRewardModel()).PickAsync(s_question, ["a", "abc", "ab"], Cancel));
        GenerativeRewardModel judge = new(reader, writer, new JudgePrompt());
        string[] answers = ["Blue.", "A potato.", "Grey, often."];
        int linear = await new BestOfN(judge, Tournament.Linear).PickAsync(s_question, answers, Cancel);
        double[] against = [.. await Task.WhenAll(Enumerable.Range(0, 3).Where(i => i != linear).Select(async i => (await judge.CompareAsync(s_question, answers[linear], answers[i], Cancel)).FirstIsBetter))];
        Assert.Contains(against, share => share >= 0.5); // the winner of a linear scan won at least its last comparison
    }

    [Fact]
    public async Task A_model_without_a_head_is_refused_and_a_prompt_that_is_too_long_too()
    {
        Assert.False((await Assert.ThrowsAsync<InvalidRequestException>(() => new ScalarRewardModel(reader, writer).ScoreAsync(s_question, ["a"], Cancel))).TooLong);
        GenerativeRewardModel judge = new(reader, writer, new JudgePrompt());
        Assert.True((await Assert.ThrowsAsync<InvalidRequestException>(() => judge.ScoreAsync(s_question, [string.Join(' ', Enumerable.Repeat("word", 2000)), "b"], Cancel))).TooLong);
        Assert.Equal(0, shell.Unfinished);
    }

    [Fact]
    public async Task Features_of_pairs_are_what_the_engine_reads_behind_them()
    {
        PreferencePair pair = new() { Prompt = s_question, Chosen = "Blue.", Rejected = "A potato <|im_end|>." };
        PreferencePair tooLong = pair with { Chosen = string.Join(' ', Enumerable.Repeat("word", 2000)) };
        PairFeatures features = new(reader, writer.Tokenizer, new LengthRewardModel());
        int[] text = PreferencePrompt.EncodeText(writer.Tokenizer, pair.Prompt, pair.Chosen, pair.Rejected);
        Assert.True(writer.Tokenizer.TryGetId(PreferencePrompt.Token, out int token) & writer.Tokenizer.TryGetId("<|im_end|>", out int end));
        Assert.DoesNotContain(end, text); // an answer cannot write the model's own tokens
        IReadOnlyList<float[]?> read = await features.ReadAllAsync([pair, tooLong, pair], PairFeature.Preference, cancel: Cancel);
        Assert.Equal(await reader.ReadAsync([.. text, token], Readout.LastHidden, Cancel), read[0]!, (one, other) => Math.Abs(one - other) < 1e-3);
        Assert.Null(read[1]);
        Assert.Equal(model.Config.HiddenSize, read[2]!.Length);
        Assert.Equal(await reader.ReadAsync(text, Readout.MeanHidden, Cancel), await features.ReadAsync(pair, PairFeature.Embedding, Cancel), (one, other) => Math.Abs(one - other) < 1e-3);
        Assert.Equal([pair.Chosen.Length - pair.Rejected.Length], await features.ReadAsync(pair, PairFeature.Reward, Cancel));
    }

    public void Dispose()
    {
        reader.Dispose();
        shell.Dispose();
        model.Dispose();
        backend.Dispose();
        checkpoint.Dispose();
    }
}
