using System.Diagnostics;
using System.Text.Json.Nodes;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Evaluation;
using XDeepServe.Models.Loading;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Running;

namespace XDeepServe.Training.Tests;

public sealed class RunTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public void A_run_that_goes_on_equals_one_that_was_not_interrupted()
    {
        using TinyModel tiny = new();
        TrainingSettings whole = tiny.Settings(tiny.Pairs(22)) with { NumTrainEpochs = 2, SaveSteps = 3, LoggingSteps = 2, EvalData = [tiny.Pairs(5, "eval.jsonl")], EvalSteps = 5 };
        Assert.True(Train("gram", whole));
        TrainingSettings parts = whole with { OutputDir = tiny.At("parts") };
        // Killed behind step 8: what is left is the checkpoint of step 6 and lines of the log behind it.
        Assert.Throws<InvalidOperationException>(() => Train("gram", parts, new Killer(8)));
        Assert.Equal([3, 6], new Checkpoints(parts.OutputDir, 2).Steps);
        Assert.Contains("\"step\":8", File.ReadAllText(Path.Combine(parts.OutputDir, "log.jsonl")), StringComparison.Ordinal);
        Assert.Contains("resume_from_checkpoint", Assert.Throws<TrainingException>(() => Train("gram", parts)).Message, StringComparison.Ordinal);
        File.AppendAllText(Path.Combine(parts.OutputDir, "log.jsonl"), "{\"step\":9,\"lo"); // it was killed while it wrote
        Assert.True(Train("gram", parts with { ResumeFromCheckpoint = true }));
        Assert.Equal(File.ReadAllBytes(tiny.At("out/final/model.safetensors")), File.ReadAllBytes(tiny.At("parts/final/model.safetensors")));
        Assert.Equal(File.ReadAllLines(tiny.At("out/log.jsonl")), File.ReadAllLines(tiny.At("parts/log.jsonl")));
        Assert.Equal(File.ReadAllLines(tiny.At("out/log.csv")), File.ReadAllLines(tiny.At("parts/log.csv")));
        Assert.True(File.Exists(tiny.At("out/loss.png")) && File.Exists(tiny.At("out/accuracy.png")));
        Assert.Contains("belongs to a run of", Assert.Throws<TrainingException>(() => Train("gram", parts with { ResumeFromCheckpoint = true, Seed = 8 })).Message, StringComparison.Ordinal);
        // Another stage may train as many values on as many examples.
        Assert.Contains("belongs to a run of Gram, ", Assert.Throws<TrainingException>(() => Train("dpo", parts with { ResumeFromCheckpoint = true })).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_run_that_is_stopped_keeps_a_checkpoint()
    {
        using TinyModel tiny = new();
        using CancellationTokenSource stop = new();
        Assert.False(new Run(tiny.Settings(tiny.Pairs(20)) with { ReportTo = "tensorboard" }, _ => { }).Train("bt", new Canceller(stop, 2), stop.Token));
        Assert.True(Directory.EnumerateFiles(tiny.At("out/runs"), "*tfevents*", SearchOption.AllDirectories).Sum(file => new FileInfo(file).Length) > 100, "TensorBoard's events are written");
        Assert.Equal([2], new Checkpoints(tiny.At("out"), 2).Steps);
    }

    [Fact]
    public void Adapters_are_added_to_their_projections_when_a_model_is_saved()
    {
        using TinyModel tiny = new();
        TrainingSettings settings = tiny.Settings(tiny.Pairs(12)) with { LoraR = 2, LoraAlpha = 4, NumTrainEpochs = 3, TestData = [$"pairs={tiny.Pairs(7, "test.jsonl")}"] };
        Assert.True(Train("gram", settings));
        double accuracy = JsonNode.Parse(File.ReadLines(tiny.At("out/test.jsonl")).Single())!["accuracy"]!.GetValue<double>();
        using Loaded merged = new("gram", settings with { ModelNameOrPath = tiny.At("out/final"), FromScratch = false, TrainData = [tiny.At("test.jsonl")] });
        PreferencePair[] pairs = [.. PreferenceData.Pairs(tiny.At("test.jsonl"), new())];
        Assert.Equal(accuracy, new Judge(merged.Stage, merged.Network, settings).Run(pairs).Average(verdict => verdict.Correct), 6);
        using Loaded before = new("gram", settings);
        Assert.NotEqual(before.Weights["model.layers.0.self_attn.q_proj.weight"].data<float>().ToArray(), merged.Weights["model.layers.0.self_attn.q_proj.weight"].data<float>().ToArray());
        Assert.Equal(before.Weights["model.layers.0.mlp.up_proj.weight"].data<float>().ToArray(), merged.Weights["model.layers.0.mlp.up_proj.weight"].data<float>().ToArray());
    }

    [Fact]
    public void Nothing_is_learnt_from_that_is_longer_than_the_model_reads()
    {
        using TinyModel tiny = new();
        string pairs = tiny.Data("long.jsonl", Enumerable.Range(0, 5).Select(i => (object)new { prompt = string.Join(' ', Enumerable.Repeat("why", i == 4 ? 1100 : 3)), chosen = "Yes, because.", rejected = $"No {i}." }));
        List<string> told = [];
        Assert.True(new Run(tiny.Settings(pairs) with { MaxLength = 2048, TestData = [$"pairs={pairs}"] }, told.Add).Train("bt", null, Cancel));
        Assert.StartsWith("max_length is 1024 in place of 2048", told[0], StringComparison.Ordinal);
        Assert.Contains(told, line => line.Contains("5 read, 4 kept, dropped: 1 longer than max_length", StringComparison.Ordinal));
        JsonNode line = JsonNode.Parse(File.ReadLines(tiny.At("out/test.jsonl")).Single())!;
        Assert.Equal((5, 1), ((int)line["pairs"]!, (int)line["too_long"]!));
        // Every better answer is the longer one: there is no length-balanced subset to tell of.
        Assert.Null(line["length_balanced"]);
        Assert.DoesNotContain("length-balanced", told[^1], StringComparison.Ordinal);
    }

    [Fact]
    public void Early_stopping_keeps_the_best_model()
    {
        using TinyModel tiny = new();
        // Learning the opposite of what is evaluated: the loss there only rises.
        string wrong = tiny.Data("wrong.jsonl", Enumerable.Range(0, 8).Select(i => (object)new { prompt = $"Is {i} a number?", chosen = "No, potatoes.", rejected = $"Yes, {i} is one." }));
        TrainingSettings settings = tiny.Settings(tiny.Pairs(40)) with { EvalData = [wrong], EvalSteps = 1, EarlyStoppingPatience = 3, NumTrainEpochs = 5, LearningRate = 1e-2, WarmupRatio = 0 };
        Assert.True(Train("bt", settings));
        JsonNode[] evaluations = [.. File.ReadLines(tiny.At("out/log.jsonl")).Select(line => JsonNode.Parse(line)!).Where(line => line["eval_loss"] is not null)];
        Assert.True(evaluations.Length < 40, "it stops early");
        int best = evaluations.MinBy(line => line["eval_loss"]!.GetValue<double>())!["step"]!.GetValue<int>();
        Assert.Equal(File.ReadAllBytes(tiny.At($"out/checkpoint-{best}/model.safetensors")), File.ReadAllBytes(tiny.At("out/final/model.safetensors")));
    }

    [Fact]
    public void What_a_model_is_tried_on_is_told_once_however_often_the_run_goes_on()
    {
        using TinyModel tiny = new();
        string several = tiny.Data("several.jsonl", Enumerable.Range(0, 3).Select(i => (object)new { prompt = $"Is {i} a number?", responses = new[] { "Yes.", "No, potatoes.", "Well." }, scores = new[] { 1.0, 0, 0.5 } }));
        TrainingSettings settings = tiny.Settings(tiny.Pairs(12)) with { TestData = [$"pairs={tiny.Pairs(7, "one.jsonl")}", $"pairs={tiny.Pairs(5, "two.jsonl")}", $"best-of-n={several}"] };
        Assert.True(Train("dpo", settings));
        string[] first = File.ReadAllLines(tiny.At("out/test.jsonl"));
        Assert.True(Train("dpo", settings with { ResumeFromCheckpoint = true })); // nothing is left to learn: the tests alone
        Assert.Equal(first, File.ReadAllLines(tiny.At("out/test.jsonl")));
        JsonNode[] lines = [.. first.Select(line => JsonNode.Parse(line)!)];
        Assert.Equal(["one.jsonl", "two.jsonl", "several.jsonl"], lines.Select(line => (string)line["file"]!));
        Assert.Equal((7, 5, 12), ((int)lines[0]["pairs"]!, (int)lines[1]["pairs"]!, (int)lines[2]["examples"]!));
        Assert.All(lines[..2], line => Assert.True((int)line["ties"]! == 0 && (double)line["accuracy"]! == (double)line["accuracy_fitting"]!));
        Assert.InRange((double)lines[2]["picked"]!["scores"]!, 0, (double)lines[2]["highest"]!["scores"]!);
        Assert.Contains("judges no pairs", Assert.Throws<TrainingException>(() => Train("sft", settings with { TrainData = [tiny.Data("talk.jsonl", [new { prompt = "a", completion = "b" }])], OutputDir = tiny.At("sft") })).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_policy_is_asked_against_what_it_was_before_the_first_step()
    {
        using TinyModel tiny = new();
        TrainingSettings settings = tiny.Settings(tiny.Pairs(8)) with { EvalData = [tiny.Pairs(3, "eval.jsonl")], TestData = [$"pairs={tiny.At("pairs.jsonl")}"], NumTrainEpochs = 8, LearningRate = 1e-2 };
        Assert.True(Train("dpo", settings));
        JsonNode test = JsonNode.Parse(File.ReadLines(tiny.At("out/test.jsonl")).Single())!;
        Assert.True((double)test["accuracy"]! > 0.8, "it has learnt the pairs that it is asked about");
        // Before the first step nothing has grown: every pair is a tie.
        using Loaded loaded = new("dpo", settings with { TrainData = [] });
        PreferencePair[] pairs = [.. PreferenceData.Pairs(tiny.At("pairs.jsonl"), new())];
        loaded.Stage.Remember(loaded.Network, pairs.SelectMany(pair => loaded.Stage.Ask(pair)!));
        Assert.All(new Judge(loaded.Stage, loaded.Network, settings).Run(pairs), verdict => Assert.Equal(0.5, verdict.ChosenIsBetter!.Value, 5));
    }

    [Fact]
    public void A_folder_that_cannot_be_written_ends_the_run_in_words()
    {
        using TinyModel tiny = new();
        TrainingSettings settings = tiny.Settings(tiny.Pairs(8)) with { SaveSteps = 1, LoggingSteps = 1 };
        // What is to become the final model's folder cannot be made: a file has its name.
        Directory.CreateDirectory(tiny.At("out"));
        File.WriteAllText(tiny.At("out/final"), "");
        TrainingException failure = Assert.Throws<TrainingException>(() => Train("bt", settings));
        Assert.Contains("cannot be written", failure.Message, StringComparison.Ordinal);
        Assert.Contains(tiny.At("out/checkpoint-2"), failure.Message, StringComparison.Ordinal);
        File.Delete(tiny.At("out/final"));
        Assert.True(Train("bt", settings with { ResumeFromCheckpoint = true }));
        Assert.True(File.Exists(tiny.At("out/final/model.safetensors")));
    }

    [Fact]
    public void The_last_step_is_logged_and_a_log_that_cannot_be_written_ends_the_run_in_words()
    {
        using TinyModel tiny = new();
        TrainingSettings settings = tiny.Settings(tiny.Pairs(12)) with { LoggingSteps = 1000 };
        Assert.True(Train("bt", settings));
        JsonNode line = JsonNode.Parse(File.ReadLines(tiny.At("out/log.jsonl")).Single())!;
        Assert.Equal(3, (int)line["step"]!);
        Assert.True(double.IsFinite((double)line["loss"]!));
        Directory.CreateDirectory(tiny.At("other/log.csv")); // its name is taken
        Assert.Contains("The log in", Assert.Throws<TrainingException>(() => Train("bt", settings with { OutputDir = tiny.At("other") })).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_step_is_saved_once()
    {
        using TinyModel tiny = new();
        TrainingSettings settings = tiny.Settings(tiny.Pairs(12)) with { EvalSteps = 1, SaveSteps = 1, EarlyStoppingPatience = 9 };
        using Loaded loaded = new("bt", settings);
        List<string> saved = [];
        using Trainer trainer = new(loaded.Stage, loaded.Network, settings, new Checkpoints(settings.OutputDir, 9), (folder, _) => saved.Add(Path.GetFileName(folder)), new TrainingLog(settings.OutputDir));
        Assert.True(trainer.Run(loaded.Examples, loaded.Examples, Cancel));
        Assert.Equal(["checkpoint-1.part", "checkpoint-2.part", "checkpoint-3.part"], saved);
    }

    [Fact]
    public void A_judge_is_not_made_of_a_scalar_model_whose_output_matrix_is_gone()
    {
        using TinyModel tiny = new();
        File.WriteAllText(tiny.At("config.json"), File.ReadAllText(tiny.At("config.json")).Replace("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false", StringComparison.Ordinal));
        TrainingSettings settings = tiny.Settings(tiny.Pairs(4));
        Assert.True(Train("bt", settings));
        TrainingSettings next = settings with { ModelNameOrPath = tiny.At("out/final"), FromScratch = false, OutputDir = tiny.At("next") };
        Assert.Contains("lm_head.weight", Assert.Throws<ModelLoadException>(() => Train("gram", next)).Message, StringComparison.Ordinal);
        Assert.True(Train("bt", next));
    }

    [Fact]
    public void Evaluation_data_of_which_nothing_is_left_is_refused()
    {
        using TinyModel tiny = new();
        string equal = tiny.Data("equal.jsonl", [new { prompt = "?", chosen = "a", rejected = "a" }]);
        Assert.Contains("No example of eval_data is left", Assert.Throws<TrainingException>(() => Train("bt", tiny.Settings(tiny.Pairs(4)) with { EvalData = [equal] })).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("gram", "freeze_backbone", "true", "Nothing is left to learn")]
    [InlineData("gram", "lora_target_modules", "qkv_proj", "names qkv_proj, which")]
    [InlineData("bt", "label_smoothing", "0.1", "are for pairs; leave them out for rankings of 3 answers")]
    [InlineData("bt", "center_rewards_coefficient", "0.01", "are for pairs; leave them out for rankings of 3 answers")]
    public void Settings_that_would_do_nothing_are_refused(string stage, string name, string value, string said)
    {
        using TinyModel tiny = new();
        string data = stage == "gram" ? tiny.Pairs(4) : tiny.Data("three.jsonl", [new { prompt = "?", responses = new[] { "a", "b", "c" }, scores = new[] { 3, 2, 1 } }]);
        TrainingSettings settings = Settings.Recipe.Apply(tiny.Settings(data) with { LoraR = name == "lora_target_modules" ? 2 : 0 }, [(name, [value])]);
        Assert.Contains(said, Assert.Throws<TrainingException>(() => Train(stage, settings)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("gram", """{"prompt":"a","chosen":"b"}""", "line 1: 'rejected' is missing")]
    [InlineData("gram", """{"prompt":"a","chosen":"b","rejected":"b"}""", "No example is left to learn from")]
    [InlineData("pretrain", """{"text":3}""", "'text' must be a string")]
    public async Task Bad_data_ends_the_program_with_one_line(string stage, string data, string said)
    {
        using TinyModel tiny = new();
        File.WriteAllText(tiny.At("bad.jsonl"), data);
        ProcessStartInfo start = new("dotnet", [Path.Combine(AppContext.BaseDirectory, "xds-train.dll"), stage, "--from_scratch", "true", "--model_name_or_path", tiny.Folder, "--train_data", tiny.At("bad.jsonl"), "--output_dir", tiny.At("out"), "--device", "cpu"])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };
        using Process program = Process.Start(start)!;
        string told = await program.StandardError.ReadToEndAsync(Cancel);
        await program.WaitForExitAsync(Cancel);
        Assert.Equal(1, program.ExitCode);
        string last = told.TrimEnd().Split('\n')[^1];
        Assert.StartsWith("xds-train: ", last, StringComparison.Ordinal);
        Assert.Contains(said, last, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", told, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("judge.txt", "{question} {answer_a}", "must hold {answer_b}")]
    [InlineData("tokenizer_config.json", """{"chat_template":"{% for m in messages %}{{ raise_exception('not so') }}{% endfor %}"}""", "pairs.jsonl, example 1: the model's chat template does not take it: not so")]
    [InlineData("tokenizer.json", """{"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}""", "'A' is ")]
    public void What_a_judge_cannot_be_made_of_is_said_in_words(string name, string content, string said)
    {
        using TinyModel tiny = new();
        string data = tiny.Pairs(4);
        File.WriteAllText(tiny.At(name), content);
        TrainingSettings settings = tiny.Settings(data) with { JudgeTemplate = name == "judge.txt" ? tiny.At(name) : "" };
        Assert.Contains(said, Assert.Throws<TrainingException>(() => Train("gram", settings)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("INT")]
    [InlineData("TERM")]
    [InlineData("")] // the launcher goes away
    public async Task A_program_that_is_asked_to_stop_writes_a_checkpoint_first(string signal)
    {
        using TinyModel tiny = new();
        ProcessStartInfo start = new("dotnet", [Path.Combine(AppContext.BaseDirectory, "xds-train.dll"), "--until-eof", "bt", "--from_scratch", "true", "--model_name_or_path", tiny.Folder, "--train_data", tiny.Pairs(40),
            "--output_dir", tiny.At("out"), "--device", "cpu", "--max_steps", "1000000", "--save_steps", "1000000", "--logging_steps", "1"])
        {
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };
        using Process program = Process.Start(start)!;
        string? line;
        do
            line = await program.StandardError.ReadLineAsync(Cancel);
        while (line?.StartsWith("step ", StringComparison.Ordinal) == false);
        if (signal.Length == 0)
            program.StandardInput.Close();
        else
            using (Process kill = Process.Start("kill", [$"-{signal}", $"{program.Id}"]))
                await kill.WaitForExitAsync(Cancel);
        string told = await program.StandardError.ReadToEndAsync(Cancel);
        await program.WaitForExitAsync(Cancel);
        Assert.Equal(130, program.ExitCode);
        Assert.Single(new Checkpoints(tiny.At("out"), 2).Steps);
        Assert.Contains("go on with --resume_from_checkpoint true", told, StringComparison.Ordinal);
    }

    [Fact]
    public void Texts_are_packed_and_cut_and_turns_of_the_assistant_alone_are_learnt()
    {
        using TinyModel tiny = new();
        string texts = tiny.Data("texts.jsonl", Enumerable.Range(0, 30).Select(i => (object)new { text = $"Number {i} is followed by number {i + 1}." }));
        using Loaded packed = new("pretrain", tiny.Settings(texts) with { MaxLength = 64 });
        Assert.All(packed.Examples.SkipLast(1), example => Assert.Equal((64, 63), (example.Length, example.Sequences[0].LearnedTokens)));
        int[] ids = [.. packed.Examples.SelectMany(example => example.Sequences[0].Ids)];
        Assert.Equal(30, ids.Count(id => id == packed.Model.Writer.Tokenizer.EosId));
        Assert.StartsWith("Number 0 is followed by number 1.", packed.Model.Writer.Tokenizer.Decode(ids), StringComparison.Ordinal);

        string talk = tiny.Data("talk.jsonl", [new { messages = new[] { new { role = "user", content = "One?" }, new { role = "assistant", content = "Two." }, new { role = "user", content = "Three?" }, new { role = "assistant", content = "Four." } } }]);
        using Loaded tuned = new("sft", tiny.Settings(talk));
        Sequence sequence = tuned.Examples.Single().Sequences[0];
        Assert.Equal(["Two.<|im_end|>\n", "Four.<|im_end|>\n"], sequence.Learned.Select(range => tuned.Model.Writer.Tokenizer.Decode(sequence.Ids.AsSpan(range.Start..range.End))));
        DataCounts counts = new();
        Example cut = new Stages.FineTuning(tuned.Model.Writer, tiny.Settings(talk) with { MaxLength = 12 }).Read(talk, counts).Single();
        Assert.Equal(12, cut.Length);
        Assert.Equal("1 read, 1 kept (1 truncated)", counts.ToString());
    }

    [Fact]
    public void Rankings_of_different_lengths_are_refused()
    {
        using TinyModel tiny = new();
        string mixed = tiny.Data("mixed.jsonl", [new { prompt = "?", responses = new[] { "a", "b", "c" }, scores = new[] { 3, 2, 1 } }, new { prompt = "?", responses = new[] { "a", "b" }, scores = new[] { 2, 1 } }]);
        Assert.Contains("all must have as many", Assert.Throws<TrainingException>(() => Train("bt", tiny.Settings(mixed))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_loss_that_is_no_number_ends_the_run()
    {
        using TinyModel tiny = new();
        // The data's margin is beyond what float32 holds.
        string huge = tiny.Data("huge.jsonl", Enumerable.Range(0, 12).Select(i => (object)new { prompt = "?", chosen = $"a {i}", rejected = $"b {i}", margin = i == 11 ? 1e300 : 0 }));
        TrainingSettings settings = tiny.Settings(huge) with { UseMargin = true, PerDeviceTrainBatchSize = 1, SaveSteps = 1, Seed = 9 }; // by which it is not the first
        TrainingException failure = Assert.Throws<TrainingException>(() => Train("bt", settings));
        Assert.Contains("Lower learning_rate, or look at the data", failure.Message, StringComparison.Ordinal);
        // The last checkpoint is from before that, and whole.
        int last = new Checkpoints(settings.OutputDir, 2).Steps[^1];
        Assert.Contains($"The last checkpoint, {tiny.At($"out/checkpoint-{last}")}, is from before that", failure.Message, StringComparison.Ordinal);
        using Loaded loaded = new("bt", settings with { ModelNameOrPath = tiny.At($"out/checkpoint-{last}"), FromScratch = false, TrainData = [] });
        Assert.All(loaded.Weights.Masters.data<float>().ToArray(), value => Assert.True(float.IsFinite(value)));
        Assert.False(Directory.Exists(tiny.At("out/final")));
        DataCounts counts = new();
        Assert.Equal(4, loaded.Stage.Read(tiny.Pairs(4), counts).Count());
        Assert.Equal("4 read, 4 kept (4 without a margin)", counts.ToString());
        settings = tiny.Settings(tiny.Pairs(4), "evaluated") with { UseMargin = true, EvalData = [huge] };
        Assert.Contains("the loss on eval_data is", Assert.Throws<TrainingException>(() => Train("bt", settings)).Message, StringComparison.Ordinal);
    }

    private static bool Train(string stage, TrainingSettings settings, IWatcher? watcher = null) => new Run(settings, _ => { }).Train(stage, watcher, Cancel);

    private class Killer(int step) : IWatcher
    {
        public void Started(int step, int steps)
        {
        }

        public virtual void Stepped(int done, long tokens, TimeSpan took)
        {
        }

        public void Logged(LogEntry entry)
        {
            if (entry.Step == step)
                throw new InvalidOperationException("killed");
        }
    }

    private sealed class Canceller(CancellationTokenSource stop, int step) : Killer(-1)
    {
        public override void Stepped(int done, long tokens, TimeSpan took)
        {
            if (done == step)
                stop.Cancel();
        }
    }
}
