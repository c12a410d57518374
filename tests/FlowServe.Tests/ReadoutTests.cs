using System.Text.Json.Nodes;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models;
using XDeepServe.Models.Loading;

namespace XDeepServe.FlowServe.Tests;

/// <summary>Requests that read something behind their prompt in place of generating.</summary>
public sealed class ReadoutTests
{
    private static readonly EngineOptions s_smallSteps = TestEngine.Options() with { MaxBatchedTokens = 9, MaxSequences = 3 };
    private static readonly SamplingParameters s_one = new() { MaxTokens = 1, Detokenize = false };

    [Theory]
    [InlineData("qwen3")]
    [InlineData("deepseek_v3")]
    public async Task Label_log_probabilities_are_those_that_generation_reports(string family)
    {
        using TestEngine engine = new(family);
        using TestEngine chunked = new(family, s_smallSteps);
        List<Task> checks = [];
        for (int i = 0; i < 6; i++)
        {
            int[] prompt = engine.Prompt(5 + 13 * i, i);
            OutputDelta generated = (await engine.Run(prompt, TestEngine.Greedy(1) with { Logprobs = 4 }))[0];
            IReadOnlyList<(int Id, float Logprob)> top = generated.Logprobs![0].Top;
            int[] labels = [.. top.Skip(i % 2).Select(entry => entry.Id)];
            foreach (TestEngine either in new[] { engine, chunked })
                checks.Add(Check(either, prompt, labels, [.. top.Skip(i % 2).Select(entry => entry.Logprob)]));
        }
        await Task.WhenAll(checks);
        await chunked.Idle();

        static async Task Check(TestEngine engine, int[] prompt, int[] labels, float[] expected)
        {
            OutputDelta end = (await Read(engine, prompt, Readout.Labels(labels)))[^1];
            Assert.Equal(("stop", 0), (end.FinishReason, end.CompletionTokens));
            Assert.Equal(expected.Length, end.Values!.Count);
            for (int i = 0; i < labels.Length; i++)
                Assert.Equal(expected[i], end.Values[i], 4);
        }
    }

    [Fact]
    public async Task The_mean_is_that_of_the_last_states_of_all_beginnings_and_ignores_the_cache()
    {
        using TestEngine engine = new(options: s_smallSteps);
        int[] prompt = engine.Prompt(29, 4);
        double[] sum = new double[engine.Model.Config.HiddenSize];
        for (int length = 1; length <= prompt.Length; length++)
        {
            IReadOnlyList<float> last = (await Read(engine, prompt[..length], Readout.LastHidden))[^1].Values!;
            for (int i = 0; i < sum.Length; i++)
                sum[i] += last[i];
        }
        Task<List<OutputDelta>>[] runs = [.. Enumerable.Range(0, 5).Select(_ => Read(engine, prompt, Readout.MeanHidden))];
        foreach (List<OutputDelta> run in await Task.WhenAll(runs))
            for (int i = 0; i < sum.Length; i++)
                Assert.Equal(sum[i] / prompt.Length, run[^1].Values![i], 4);
        await engine.Idle();
    }

    [Fact]
    public async Task A_score_head_reads_the_last_state_and_such_a_model_does_not_generate()
    {
        string folder = Directory.CreateTempSubdirectory("xds-score").FullName;
        try
        {
            JsonNode config = JsonNode.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "golden", "mistral_random", "config.json")))!;
            config["architectures"] = new JsonArray("MistralForSequenceClassification");
            config["id2label"] = new JsonObject { ["0"] = "a", ["1"] = "b", ["2"] = "c" };
            File.WriteAllText(Path.Combine(folder, "config.json"), config.ToJsonString());
            using Checkpoint checkpoint = Checkpoint.Open(folder, LoadFormat.Dummy);
            using CpuBackend backend = new(new CpuOptions(Threads: 2, PinThreads: false));
            using Model model = Model.Load(checkpoint, backend, new ModelOptions(MaxModelLength: 512));
            using TeShell shell = new(model, backend, null, TestEngine.Options());
            Assert.Equal(3, model.Config.Labels);
            int[] prompt = [.. Enumerable.Range(5, 40)];
            IReadOnlyList<float> hidden = (await TestEngine.Read(shell.Submit(Request(prompt, Readout.LastHidden))))[^1].Values!;
            IReadOnlyList<float> scores = (await TestEngine.Read(shell.Submit(Request(prompt, Readout.Scores))))[^1].Values!;
            float[] row = new float[hidden.Count], bias = new float[3]; // a random model has every weight that is asked for
            checkpoint.Get("score.bias", 3).Read(0, bias);
            for (int label = 0; label < 3; label++)
            {
                checkpoint.Get("score.weight", 3, hidden.Count).Read(label, row);
                Assert.Equal(row.Zip(hidden, (weight, value) => (double)weight * value).Sum() + bias[label], scores[label], 3);
            }
            Assert.Equal("model", Assert.Throws<InvalidRequestException>(() => shell.Submit(Request(prompt, null))).Param);
            Assert.Equal("label_token_ids", Assert.Throws<InvalidRequestException>(() => shell.Submit(Request(prompt, Readout.Labels([1])))).Param);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task Values_that_are_no_numbers_end_the_request_and_nothing_else()
    {
        string folder = Directory.CreateTempSubdirectory("xds-damaged").FullName;
        try
        {
            foreach (string file in Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "golden", "qwen3")))
                File.Copy(file, Path.Combine(folder, Path.GetFileName(file)));
            string weights = Path.Combine(folder, "model.safetensors");
            byte[] bytes = File.ReadAllBytes(weights);
            int head = 8 + (int)BitConverter.ToInt64(bytes);
            JsonNode place = JsonNode.Parse(bytes.AsSpan(8, head - 8))!["model.norm.weight"]!["data_offsets"]!;
            bytes.AsSpan(head + (int)place[0]!, (int)place[1]! - (int)place[0]!).Fill(0xff);
            File.WriteAllBytes(weights, bytes);
            using Checkpoint checkpoint = Checkpoint.Open(folder);
            using CpuBackend backend = new(new CpuOptions(Threads: 2, PinThreads: false));
            using Model model = Model.Load(checkpoint, backend, new ModelOptions(MaxModelLength: 512));
            using TeShell shell = new(model, backend, null, TestEngine.Options());
            foreach (Readout readout in new[] { Readout.Labels([5, 6]), Readout.LastHidden, Readout.MeanHidden })
            {
                using Generation generation = shell.Submit(Request([.. Enumerable.Range(5, 40)], readout));
                Assert.Equal("error", (await TestEngine.Read(generation))[^1].FinishReason);
                Assert.Equal(Readout.NoNumbers, Assert.IsType<NotFiniteNumberException>(generation.Failure).Message);
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void Impossible_readouts_are_refused()
    {
        using TestEngine engine = new();
        int[] prompt = engine.Prompt(5, 1);
        Assert.Equal("model", Refused(Request(prompt, Readout.Scores)));
        Assert.Equal("label_token_ids", Refused(Request(prompt, Readout.Labels([]))));
        Assert.Equal("label_token_ids", Refused(Request(prompt, Readout.Labels([1 << 24]))));
        Assert.Equal("max_tokens", Refused(Request(prompt, Readout.LastHidden) with { Sampling = s_one with { MaxTokens = 2 } }));

        string? Refused(GenerationRequest wrong) => Assert.Throws<InvalidRequestException>(() => engine.Shell.Submit(wrong)).Param;
    }

    private static Task<List<OutputDelta>> Read(TestEngine engine, int[] prompt, Readout readout) => TestEngine.Read(engine.Shell.Submit(Request(prompt, readout)));

    private static GenerationRequest Request(int[] prompt, Readout? readout) => new() { Id = "read", Prompt = prompt, Sampling = s_one, Readout = readout };
}
