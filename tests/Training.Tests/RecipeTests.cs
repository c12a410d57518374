using XDeepServe.Training.Losses;
using XDeepServe.Training.Settings;

namespace XDeepServe.Training.Tests;

public sealed class RecipeTests
{
    [Fact]
    public void Files_and_flags_name_settings_as_TRL_does()
    {
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllText(path, """
                model_name_or_path: base
                learning_rate: 2.0e-5
                train_data: [a.jsonl, b.jsonl]
                eval_data: c.jsonl
                bf16: true
                smoothing_form: pytorch
                lr_scheduler_type: linear
                """);
            TrainingSettings settings = Recipe.Apply(Recipe.Apply(new TrainingSettings(), Recipe.Read(path)), [("output_dir", ["out"]), ("learning_rate", ["1e-4"])]);
            settings.Check();
            Assert.Equal(("base", 1e-4, true, SmoothingForm.PyTorch), (settings.ModelNameOrPath, settings.LearningRate, settings.Bf16, settings.SmoothingForm));
            Assert.Equal(["a.jsonl", "b.jsonl"], settings.TrainData);
            Assert.Equal(["c.jsonl"], settings.EvalData);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Theory]
    [InlineData("learning_rate", "fast", "'learning_rate' must be a number, not 'fast'")]
    [InlineData("learning_rate", "NaN", "'learning_rate' must be a number")]
    [InlineData("max_steps", "1.5", "'max_steps' must be a whole number")]
    [InlineData("bf16", "yes", "'bf16' must be true or false")]
    [InlineData("lr_scheduler_type", "sine", "must be cosine or linear or constant")]
    [InlineData("batch_size", "4", "do you mean per_device_train_batch_size")]
    [InlineData("zzz", "4", "there are model_name_or_path")]
    [InlineData("train_data", "--learning-rates", "There is no setting 'learning_rates'; do you mean learning_rate")]
    public void What_is_wrong_is_named(string name, string value, string expected) =>
        Assert.Contains(expected, Assert.Throws<TrainingException>(() => Recipe.Apply(new TrainingSettings(), [(name, [value])])).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("model_name_or_path", "")]
    [InlineData("learning_rate", "-1")]
    [InlineData("label_smoothing", "0.5")]
    [InlineData("per_device_train_batch_size", "0")]
    [InlineData("max_length", "1")]
    [InlineData("early_stopping_patience", "3")]
    [InlineData("device", "tpu")]
    public void What_cannot_be_is_refused(string name, string value)
    {
        TrainingSettings settings = new() { ModelNameOrPath = "m", OutputDir = "o", TrainData = ["t"] };
        settings.Check();
        Assert.Contains(name, Assert.Throws<TrainingException>(() => Recipe.Apply(settings, [(name, [value])]).Check()).Message, StringComparison.Ordinal);
    }
}
