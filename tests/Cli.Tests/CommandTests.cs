using System.Diagnostics;
using System.Text.Json;

namespace XDeepServe.Cli.Tests;

/// <summary>The program as a user starts it.</summary>
public sealed class CommandTests
{
    private static readonly string Program = Path.Combine(AppContext.BaseDirectory, "xds.dll");
    private static readonly string Tiny = Path.Combine(Root(), "tests", "golden", "deepseek_v3");

    [Fact]
    public async Task Generate_prints_one_JSON_object_and_nothing_else()
    {
        (int code, string output, string _) = await Run(
            "generate", "--model", Tiny, "--skip-tokenizer-init", "--prompt-ids", "1,2,3", "--max-tokens", "5", "--ignore-eos",
            "--logprobs", "2", "--prompt-logprobs", "1", "--json");
        Assert.Equal(0, code);
        JsonElement json = JsonDocument.Parse(output).RootElement;
        Assert.Equal([1, 2, 3], json.GetProperty("prompt_ids").EnumerateArray().Select(id => id.GetInt32()));
        Assert.Equal(5, json.GetProperty("token_ids").GetArrayLength());
        Assert.Equal("", json.GetProperty("text").GetString());
        Assert.Equal("length", json.GetProperty("finish_reason").GetString());
        JsonElement first = json.GetProperty("logprobs")[0];
        Assert.Equal(json.GetProperty("token_ids")[0].GetInt32(), first.GetProperty("id").GetInt32());
        Assert.Equal(first.GetProperty("logprob").GetSingle(), first.GetProperty("top")[0].GetProperty("logprob").GetSingle());
        Assert.Equal(2, first.GetProperty("top").GetArrayLength());
        Assert.Equal(JsonValueKind.Null, json.GetProperty("prompt_logprobs")[0].ValueKind);
        Assert.Equal(3, json.GetProperty("prompt_logprobs").GetArrayLength());
    }

    [Fact]
    public async Task The_embedded_model_speaks()
    {
        (int code, string output, string _) = await Run("generate", "--prompt", "The capital of France is", "--max-tokens", "8");
        Assert.Equal(0, code);
        Assert.InRange(output.Trim().Length, 8, 200);
        Assert.Matches("[a-z]{3}", output);
    }

    [Fact]
    public async Task Proposed_tokens_change_nothing_but_the_speed()
    {
        string[] arguments = ["generate", "--prompt", "The capital of France is", "--max-tokens", "16", "--temperature", "0", "--json"];
        (int _, string plain, string _) = await Run(arguments);
        foreach (string config in (string[])["""{"method":"mtp","num_speculative_tokens":2}""", """{"method":"ngram","prompt_lookup_max":3}"""])
        {
            (int code, string output, string errors) = await Run([.. arguments, "--speculative-config", config]);
            Assert.True(code == 0, errors);
            Assert.Equal(JsonDocument.Parse(plain).RootElement.GetProperty("token_ids").ToString(), JsonDocument.Parse(output).RootElement.GetProperty("token_ids").ToString());
        }
    }

    [Theory]
    [InlineData("not there", "generate", "--prompt", "a", "--model", "nowhere")]
    [InlineData("temperature", "generate", "--prompt", "a", "--temperature", "NaN", "--model", "nowhere")]
    [InlineData("max_tokens", "generate", "--prompt", "a", "--max-tokens", "0", "--model", "nowhere")]
    [InlineData("logprobs", "generate", "--prompt", "a", "--logprobs", "99", "--model", "nowhere")]
    [InlineData("token ids", "generate", "--prompt-ids", "1,x", "--model", "nowhere")]
    [InlineData("either", "generate")]
    [InlineData("not valid JSON", "generate", "--prompt", "a", "--speculative-config", "mtp")]
    [InlineData("no key 'tokens'", "generate", "--prompt", "a", "--speculative-config", """{"tokens":1}""")]
    [InlineData("num_speculative_tokens", "generate", "--prompt", "a", "--speculative-config", """{"num_speculative_tokens":99}""")]
    [InlineData("names no model", "generate", "--prompt", "a", "--speculative-config", """{"method":"draft_model"}""")]
    [InlineData("--port", "serve", "--port", "99999")]
    [InlineData("--threads", "generate", "--prompt", "a", "--threads", "-3")]
    [InlineData("--metric-prefix", "serve", "--metric-prefix", "a b")]
    [InlineData("3 nodes and 2 ranks", "serve", "--topology", "2EP", "--redundant-experts", "2", "--eplb-algorithm", "hierarchical", "--eplb-nodes", "3")]
    [InlineData("--eplb-nodes", "serve", "--topology", "2EP", "--redundant-experts", "2", "--eplb-nodes", "2")]
    [InlineData("--data-parallel-size", "serve", "--topology", "2EP", "--data-parallel-size", "2")]
    [InlineData("find together once", "serve", "--topology", "2EP", "--autoscale", "1:2")]
    [InlineData("--autoscale is for a service", "serve", "--autoscale", "1:2")]
    [InlineData("--cluster is for a service", "serve", "--cluster", "redis://127.0.0.1:9")]
    [InlineData("not its to use", "worker", "--role", "decode", "--cluster", "127.0.0.1:9", "--cores", "0,1000")]
    [InlineData("No Redis server answers", "worker", "--role", "frontend", "--cluster", "redis://127.0.0.1:9")]
    [InlineData("is not an IP address", "serve", "--host", "nowhere.invalid")]
    [InlineData("holds 32 positions", "generate", "--prompt", "a", "--num-gpu-blocks-override", "2")]
    [InlineData("max-num-batched-tokens", "generate", "--prompt", "a", "--max-num-batched-tokens", "3")]
    [InlineData("max_position_embeddings", "generate", "--prompt", "a", "--max-model-len", "100000")]
    [InlineData("q8_0", "generate", "--prompt", "a", "--quantization", "q2")]
    [InlineData("does not answer", "bench", "serve", "--port", "9", "--num-prompts", "1")]
    public async Task Mistakes_are_told_in_one_line(string expected, params string[] arguments)
    {
        (int code, string _, string errors) = await Run(arguments);
        Assert.NotEqual(0, code);
        Assert.Contains(expected, errors, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("   at ", errors, StringComparison.Ordinal);
        Assert.DoesNotContain("(Parameter", errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_port_in_use_is_told_in_one_line()
    {
        using System.Net.Sockets.TcpListener other = new(System.Net.IPAddress.Loopback, 0);
        other.Start();
        (int code, string output, string errors) = await Run("serve", "--port", $"{((System.Net.IPEndPoint)other.LocalEndpoint).Port}");
        Assert.Equal((1, ""), (code, output));
        Assert.Contains("address already in use", errors, StringComparison.Ordinal);
        Assert.Single(errors.TrimEnd().Split('\n'));
    }

    [Theory]
    [InlineData("info")]
    [InlineData("info", "--model")]
    public async Task Info_describes_a_model_however_it_is_named(params string[] command)
    {
        (int code, string output, string _) = await Run([.. command, Tiny]);
        Assert.Equal(0, code);
        Assert.Matches(@"family\s+deepseek_v3", output);
    }

    [Fact]
    public async Task Info_needs_no_weights_when_they_are_random()
    {
        string folder = Path.Combine(Path.GetDirectoryName(Tiny)!, "llava_random");
        (int code, string output, string _) = await Run("info", folder, "--load-format", "dummy");
        Assert.Equal(0, code);
        Assert.Matches(@"family\s+llava", output);
        Assert.DoesNotContain("0 tensors", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_model_converts_and_the_copy_says_the_same()
    {
        string folder = Directory.CreateTempSubdirectory("xds-").FullName;
        try
        {
            string target = Path.Combine(folder, "tiny.gguf");
            Assert.Equal(0, (await Run("convert", Tiny, target, "--type", "bf16")).Code);
            (int again, string _, string errors) = await Run("convert", Tiny, target, "--type", "bf16");
            Assert.Equal(1, again);
            Assert.Contains("--force", errors, StringComparison.Ordinal);
            string[] common = ["--skip-tokenizer-init", "--prompt-ids", "5,6,7", "--max-tokens", "6", "--json"];
            Assert.Equal((await Run(["generate", "--model", Tiny, .. common])).Output, (await Run(["generate", "--model", target, .. common])).Output);
            Assert.Contains("deepseek_v3", (await Run("info", target)).Output, StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task A_conversion_never_replaces_its_source()
    {
        string folder = Directory.CreateTempSubdirectory("xds-").FullName;
        try
        {
            string model = Path.Combine(folder, "model"), link = Path.Combine(folder, "link"), inner = Path.Combine(model, "inner.gguf");
            Directory.CreateDirectory(model);
            foreach (string file in Directory.GetFiles(Tiny))
                File.Copy(file, Path.Combine(model, Path.GetFileName(file)));
            Directory.CreateSymbolicLink(link, model);
            Assert.Equal(0, (await Run("convert", model, inner, "--type", "bf16")).Code);
            string[] before = [.. Directory.EnumerateFiles(model).Order(StringComparer.Ordinal)];
            foreach ((string from, string to) in new[] { (model, model), (link, model), (model, link), (inner, model), (inner, link), (Path.Combine(link, "inner.gguf"), inner) })
            {
                (int code, string _, string errors) = await Run("convert", from, to, "--force");
                Assert.Equal(1, code);
                Assert.Contains("the source; name another one", errors, StringComparison.Ordinal);
                Assert.Equal(before, Directory.EnumerateFiles(model).Order(StringComparer.Ordinal));
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task Prepared_pixels_stand_where_the_image_token_does()
    {
        string file = Path.GetTempFileName();
        try
        {
            string[] common = ["generate", "--model", Path.Combine(Path.GetDirectoryName(Tiny)!, "llava_random"), "--load-format", "dummy", "--skip-tokenizer-init", "--max-tokens", "6", "--ignore-eos", "--json"];
            string rows = string.Join(',', Enumerable.Repeat(299, 9));
            float[] pixels = [.. Enumerable.Range(0, 3 * 30 * 30).Select(i => MathF.Sin(i))];
            await File.WriteAllBytesAsync(file, System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(pixels).ToArray(), TestContext.Current.CancellationToken);
            (int code, string output, string _) = await Run([.. common, "--prompt-ids", $"1,{rows},7,8", "--pixel-values", file]);
            Assert.Equal(0, code);
            Assert.Equal(output, (await Run([.. common, "--prompt-ids", "1,299,7,8", "--pixel-values", file])).Output);
            Assert.NotEqual(output, (await Run([.. common, "--prompt-ids", $"1,{rows},7,8"])).Output);
            Assert.Contains("image tokens", (await Run([.. common, "--prompt-ids", "1,299,299,7", "--pixel-values", file])).Errors, StringComparison.Ordinal);
            Assert.Contains("text only", (await Run("generate", "--model", Tiny, "--skip-tokenizer-init", "--prompt-ids", "1", "--pixel-values", file)).Errors, StringComparison.Ordinal);
            await File.WriteAllBytesAsync(file, new byte[7], TestContext.Current.CancellationToken);
            Assert.Contains("[3, 30, 30]", (await Run([.. common, "--prompt-ids", "1,299", "--pixel-values", file])).Errors, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task Latency_is_measured_and_saved()
    {
        string file = Path.GetTempFileName();
        try
        {
            (int code, string output, string _) = await Run(
                "bench", "latency", "--model", Tiny, "--input-len", "8", "--output-len", "4", "--batch-size", "2", "--num-iters", "2",
                "--num-iters-warmup", "1", "--threads", "1", "--output-json", file);
            Assert.Equal(0, code);
            Assert.Contains("Avg latency: ", output, StringComparison.Ordinal);
            JsonElement json = JsonDocument.Parse(await File.ReadAllTextAsync(file, TestContext.Current.CancellationToken)).RootElement;
            Assert.Equal(2, json.GetProperty("latencies").GetArrayLength());
            Assert.True(json.GetProperty("percentiles").GetProperty("50").GetDouble() > 0);
            Assert.True(json.GetProperty("decode_tokens_per_s").GetDouble() > 0);
        }
        finally
        {
            File.Delete(file);
        }
    }

    internal static async Task<(int Code, string Output, string Errors)> Run(params string[] arguments)
    {
        ProcessStartInfo start = new("dotnet", ["exec", Program, .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
            StandardOutputEncoding = System.Text.Encoding.UTF8
        };
        using Process process = Process.Start(start)!;
        process.StandardInput.Close();
        using CancellationTokenSource patience = new(TimeSpan.FromSeconds(90));
        Task<string> output = process.StandardOutput.ReadToEndAsync(patience.Token), errors = process.StandardError.ReadToEndAsync(patience.Token);
        await process.WaitForExitAsync(patience.Token);
        return (process.ExitCode, await output, await errors);
    }

    private static string Root()
    {
        string folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "XDeepServe.slnx")))
            folder = Path.GetDirectoryName(folder) ?? throw new DirectoryNotFoundException("The tests run outside the repository.");
        return folder;
    }
}
