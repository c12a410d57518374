using System.Text.Json;
using XDeepServe.Training.Running;
using XDeepServe.Training.Settings;

namespace XDeepServe.Training.Tests;

/// <summary>RoVRM's recipe.</summary>
public sealed class RovrmTests
{
    [Theory]
    [InlineData("bt", "ot")]
    [InlineData("dpo", "less")]
    public void Three_phases_are_selected_for_and_trained_and_go_on_where_they_were_stopped(string stage, string method)
    {
        using SceneModel scenes = new(pairs: 24);
        RovrmSettings whole = Recipe(scenes, "whole", stage, method), parts = Recipe(scenes, "parts", stage, method);
        List<string> told = [];
        Assert.True(new RovrmRun(whole, told.Add).Train(null, TestContext.Current.CancellationToken));
        Assert.Equal(10, Selected("caption").Length);
        Assert.Equal(8, Selected("textual").Length);
        Assert.All(Selected("textual"), line => Assert.Contains(line, File.ReadAllLines(scenes.At("textual.train.jsonl"))));
        Assert.Equal(10, File.ReadAllLines(scenes.At("whole/selection/textual/targets.jsonl")).Length); // the captions that were selected
        Assert.True(File.Exists(scenes.At("whole/selection/caption/selection.svg")));
        Assert.InRange(JsonElement.Parse(File.ReadAllText(scenes.At("whole/selection/caption/report.json"))).GetProperty("kept").GetArrayLength(), 10, 10);

        // Stopped before features are written, while a selection warms up, in the second phase and in the third: behind all 3 steps of a warm-up; 2 of 3; 1, 2 and 2 of 3; 1 and 2 of 6.
        foreach ((int steps, string left) in ((int, string)[])[(3, "selection/caption/warmup/final"), (2, "selection/textual/warmup"), (5, "textual/final"), (3, "caption/final")])
        {
            using CancellationTokenSource stop = new();
            Assert.False(new RovrmRun(parts, _ => { }).Train(new Stopper(stop, steps), stop.Token));
            Assert.True(Directory.Exists(scenes.At($"parts/{left}")), left);
        }
        Assert.False(Directory.Exists(scenes.At("parts/visual/final")));
        Assert.True(new RovrmRun(parts, _ => { }).Train(null, TestContext.Current.CancellationToken));
        foreach (string phase in RovrmSettings.PhaseNames)
            Assert.Equal(File.ReadAllBytes(scenes.At($"whole/{phase}/final/model.safetensors")), File.ReadAllBytes(scenes.At($"parts/{phase}/final/model.safetensors")));
        told.Clear();
        Assert.True(new RovrmRun(whole, told.Add).Train(null, TestContext.Current.CancellationToken));
        Assert.Equal(["textual: done already", "caption: done already", "visual: done already"], told);

        string[] Selected(string phase) => File.ReadAllLines(scenes.At($"whole/selection/{phase}/selected.jsonl"));
    }

    [Theory]
    [InlineData("stage: sft", "bt or dpo")]
    [InlineData("selection: {method: best}", "random or all")]
    [InlineData("caption: 7", "map of settings")]
    [InlineData("caption: {keep: many}", "whole number")]
    [InlineData("caption: {keeps: 1}", "keeps")]
    [InlineData("visual: {train_data: [a], keep: 5}", "nothing to select against")]
    [InlineData("selection: {targets: 0}", "at least 1")]
    public void What_a_recipe_has_wrong_is_said(string line, string said)
    {
        using SceneModel scenes = new(pairs: 2);
        string path = scenes.At("recipe.yaml"), key = line.Split(':')[0];
        string[] rest = ["visual: {train_data: [a]}", "model_name_or_path: m", "output_dir: o"];
        File.WriteAllLines(path, [line, .. rest.Where(other => !other.StartsWith(key, StringComparison.Ordinal))]);
        Assert.Contains(said, Assert.Throws<TrainingException>(() => RovrmSettings.Read(path)).Message, StringComparison.Ordinal);
    }

    private static RovrmSettings Recipe(SceneModel scenes, string output, string stage, string method)
    {
        string path = scenes.At($"{output}.yaml");
        File.WriteAllText(path, $$"""
            model_name_or_path: {{scenes.Folder}}
            from_scratch: true
            output_dir: {{scenes.At(output)}}
            stage: {{stage}}
            device: cpu
            learning_rate: 1e-3
            per_device_train_batch_size: 4
            save_steps: 2
            max_length: 256
            selection: {method: {{method}}, lora_r: 2, warmup_candidates: 6, warmup_targets: 6, targets: 12, feature_dimension: 128}
            textual: {train_data: {{scenes.At("textual.train.jsonl")}}, keep: 8}
            caption: {train_data: {{scenes.At("caption.train.jsonl")}}, keep: 10}
            visual: {train_data: {{scenes.At("visual.train.jsonl")}}, learning_rate: 5e-4}
            """);
        return RovrmSettings.Read(path);
    }

    private sealed class Stopper(CancellationTokenSource stop, int steps) : IWatcher
    {
        private int met;

        public void Started(int step, int steps)
        {
        }

        public void Stepped(int done, long tokens, TimeSpan took)
        {
            if (++met == steps)
                stop.Cancel();
        }

        public void Logged(LogEntry entry)
        {
        }
    }
}
