using System.Diagnostics;

namespace XDeepServe.Cli.Tests;

public sealed class TrainCommandTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(XdsProcess.SigTerm)]
    [InlineData(XdsProcess.SigKill)]
    public async Task The_trainer_ends_with_the_command_that_started_it_and_keeps_a_checkpoint(int signal)
    {
        string folder = Directory.CreateTempSubdirectory("xds-train-").FullName;
        try
        {
            File.WriteAllText(Path.Combine(folder, "config.json"), """
                {"architectures":["Qwen3ForCausalLM"],"model_type":"qwen3","hidden_size":32,"intermediate_size":48,"num_hidden_layers":1,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":8,
                 "vocab_size":8192,"rms_norm_eps":1e-6,"rope_theta":10000.0,"max_position_embeddings":1024,"tie_word_embeddings":true,"eos_token_id":8178}
                """);
            foreach (string name in new[] { "tokenizer.json", "tokenizer_config.json" })
                File.Copy(Path.Combine(XdsProcess.Root(), "models", "nano-moe", name), Path.Combine(folder, name));
            string data = Path.Combine(folder, "pairs.jsonl"), run = Path.Combine(folder, "run");
            File.WriteAllLines(data, Enumerable.Range(0, 8).Select(i => $$"""{"prompt":"{{i}}?","chosen":"yes {{i}}","rejected":"no"}"""));
            TaskCompletionSource learns = new(TaskCreationOptions.RunContinuationsAsynchronously);
            using Process xds = XdsProcess.Start(
                (_, line) =>
                {
                    if (line.Data?.StartsWith("step ", StringComparison.Ordinal) == true)
                        learns.TrySetResult();
                },
                "train", "bt", "--from-scratch", "true", "--model-name-or-path", folder, "--train-data", data, "--output-dir", run, "--device", "cpu", "--max-steps", "1000000", "--save-steps", "1000000", "--logging-steps", "1");
            await learns.Task.WaitAsync(XdsProcess.Patience, Cancel);
            await XdsProcess.KillAsync(xds.Id, signal);
            await xds.WaitForExitAsync(Cancel); // and for the trainer, which writes where xds does
            if (signal == XdsProcess.SigTerm)
                Assert.Equal(130, xds.ExitCode);
            Assert.DoesNotContain(".part", Path.GetFileName(Assert.Single(Directory.EnumerateDirectories(run, "checkpoint-*"))), StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
