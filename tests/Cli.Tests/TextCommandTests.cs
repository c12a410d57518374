using System.Text.Json;
using System.Text.Json.Nodes;

namespace XDeepServe.Cli.Tests;

/// <summary>The commands that work on text alone.</summary>
public sealed class TextCommandTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("xds-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public async Task Texts_become_ids_and_come_back()
    {
        string[] texts = ["Hello, world!", "", "  spaces  ", "<|im_start|>user", "naïve 日本語 😀\u0000", "a\u2028b"];
        string file = Write([.. texts.Select(text => new JsonObject { ["text"] = text }.ToJsonString())]);
        (int code, string output, string errors) = await CommandTests.Run("tokenize", "--jsonl", file);
        Assert.Equal((0, ""), (code, errors));
        JsonElement[] answers = Parse(output);
        Assert.Equal(texts, answers.Select(answer => answer.GetProperty("decoded").GetString()));
        Assert.Empty(answers[1].GetProperty("ids").EnumerateArray());
        Assert.True(answers[0].GetProperty("ids").GetArrayLength() > 1);
        Assert.True(answers[3].GetProperty("ids").GetArrayLength() < 4, "A special token in a text is one token.");
    }

    [Fact]
    public async Task Tokenizer_files_alone_are_enough()
    {
        File.WriteAllText(Path.Combine(folder, "tokenizer.json"), """
            {"model":{"type":"BPE","vocab":{"<unk>":0,"<s>":1,"a":2,"b":3,"ab":4,"\u2581":5},"merges":["a b"],"unk_token":"<unk>"},
             "added_tokens":[{"id":1,"content":"<s>","special":true}],"normalizer":{"type":"Replace","pattern":{"String":" "},"content":"\u2581"},
             "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"ids":[1]}}},
             "decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"\u2581"},"content":" "},{"type":"Fuse"}]}}
            """);
        string file = Write("""{"text":"ab a<s>z"}""", """{"text":"\ud800b","other":1}""");
        JsonElement[] answers = Parse((await CommandTests.Run("tokenize", "--model", folder, "--add-special-tokens", "--jsonl", file)).Output);
        Assert.Equal([1, 4, 5, 2, 1, 0], answers[0].GetProperty("ids").EnumerateArray().Select(id => id.GetInt32()));
        Assert.Equal("<s>ab a<s><unk>", answers[0].GetProperty("decoded").GetString());
        Assert.Equal("<s><unk>b", answers[1].GetProperty("decoded").GetString());

        File.WriteAllText(Path.Combine(folder, "tokenizer_config.json"), """{"bos_token":"<s>"}""");
        File.WriteAllText(Path.Combine(folder, "chat_template.jinja"), "{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}{{ date_string }}");
        file = Write("""{"messages":[{"role":"user","content":"Hi \ud83d\ude00 \udc00"}],"date_string":"today"}""", """{"messages":[],"bos_token":"B"}""");
        answers = Parse((await CommandTests.Run("render", "--model", folder, "--jsonl", file)).Output);
        Assert.Equal(["<s>user:Hi 😀 \uFFFD;today", "B"], answers.Select(answer => answer.GetProperty("text").GetString()));
    }

    [Theory]
    [InlineData("tokenize", "line 2: 'text' is missing", """{"text":"a"}""", """{"txt":"a"}""")]
    [InlineData("tokenize", "line 1: 'text' is missing", """{"text":7}""")]
    [InlineData("tokenize", "line 2: not valid JSON", """{"text":"a"}""", """{"text":"a""")]
    [InlineData("tokenize", "line 1: not a JSON object", "[1]")]
    [InlineData("tokenize", "line 2: not valid JSON", """{"text":"a"}""", """{"text":"a","text":"b"}""")]
    [InlineData("render", "line 1: not valid JSON", """{"messages":[{"role":"user","role":"user"}]}""")]
    [InlineData("tokenize", "line 2: not valid JSON", """{"text":"a"}""", "", """{"text":"b"}""")]
    [InlineData("render", "line 1: ", """{"messages":7}""")]
    public async Task A_bad_line_is_named_and_those_before_it_are_answered(string command, string expected, params string[] lines)
    {
        (int code, string output, string errors) = await CommandTests.Run(command, "--jsonl", Write(lines));
        Assert.Equal(1, code);
        Assert.Contains(expected, errors, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", errors, StringComparison.Ordinal);
        Assert.Equal(expected.StartsWith("line 2", StringComparison.Ordinal) ? 1 : 0, Parse(output).Length);
    }

    [Theory]
    [InlineData("not there", "tokenize", "--model", "nowhere")]
    [InlineData("not there", "render", "--model", "nowhere")]
    public async Task A_model_that_is_not_there_is_named(string expected, params string[] arguments)
    {
        (int code, string _, string errors) = await CommandTests.Run([.. arguments, "--jsonl", Write("{}")]);
        Assert.Equal(1, code);
        Assert.Contains(expected, errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_tokenizer_is_measured()
    {
        string file = Write(string.Concat(Enumerable.Repeat("The quick brown fox jumps over the lazy dog. ", 100)));
        (int code, string output, string _) = await CommandTests.Run("bench", "tokenizer", "--file", file, "--num-iters", "2");
        Assert.Equal(0, code);
        Assert.Matches(@"encode +[0-9.]+ MB/s \(median of 2;", output);
    }

    private string Write(params string[] lines)
    {
        string file = Path.Combine(folder, "lines.jsonl");
        File.WriteAllText(file, string.Join('\n', lines));
        return file;
    }

    private static JsonElement[] Parse(string output) =>
        [.. output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement)];
}
