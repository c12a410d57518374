using System.IO.Compression;
using System.Text;
using Parquet.Serialization;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Alignment.Tests;

public sealed class DataTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("xds-data").FullName;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static TheoryData<string> Pairs => new(
        // TRL: text, with and without a prompt; messages, likewise
        """{"prompt":"Sky?","chosen":"Blue.","rejected":"Red."}""",
        """{"chosen":"Sky? Blue.","rejected":"Sky? Red."}""",
        """{"prompt":[{"role":"user","content":"Sky?"}],"chosen":[{"role":"assistant","content":"Blue."}],"rejected":[{"role":"assistant","content":"Red."}]}""",
        """{"chosen":[{"role":"user","content":"Sky?"},{"role":"assistant","content":"Blue."}],"rejected":[{"role":"user","content":"Sky?"},{"role":"assistant","content":"Red."}]}""",
        """{"prompt":"Sky?","chosen":[{"role":"user","content":"Sky?"},{"role":"assistant","content":"Blue."}],"rejected":[{"role":"user","content":"Sky?"},{"role":"assistant","content":"Red."}]}""",
        """{"prompt":[{"role":"user","content":[{"type":"text","text":"Sky?"}]}],"chosen":"Blue.","rejected":"Red."}""",
        // LLaMA-Factory: alpaca and ShareGPT
        """{"instruction":"Sky?","input":"","chosen":"Blue.","rejected":"Red.","history":[],"system":""}""",
        """{"conversations":[{"from":"human","value":"Sky?"}],"chosen":{"from":"gpt","value":"Blue."},"rejected":{"from":"gpt","value":"Red."}}""",
        // ms-swift
        """{"messages":[{"role":"user","content":"Sky?"},{"role":"assistant","content":"Blue."}],"rejected_response":"Red."}""",
        """{"messages":[{"role":"user","content":"Sky?"},{"role":"assistant","content":"Blue."}],"rejected_messages":[{"role":"user","content":"Sky?"},{"role":"assistant","content":"Red."}]}""",
        // Anthropic
        """{"chosen":"\n\nHuman: Sky?\n\nAssistant: Blue.","rejected":"\n\nHuman: Sky?\n\nAssistant: Red."}""");

    [Theory]
    [MemberData(nameof(Pairs))]
    public void A_pair_is_read_from_every_form(string line)
    {
        PreferencePair pair = Assert.Single(ReadPairs(line, out DataCounts counts));
        Assert.Equal([new Message("user", "Sky?")], pair.Prompt);
        Assert.Equal(("Blue.", "Red."), (pair.Chosen.Trim(), pair.Rejected.Trim()));
        Assert.Null(pair.Margin);
        Assert.Equal("1 read, 1 kept", counts.ToString());
    }

    [Fact]
    public void Earlier_turns_system_prompts_and_inputs_are_part_of_the_prompt()
    {
        PreferencePair factory = Assert.Single(ReadPairs("""{"instruction":"Shorten.","input":"A long text.","history":[["Hi","Hello."]],"system":"Be brief.","chosen":"Text.","rejected":"No."}""", out _));
        Assert.Equal([new("system", "Be brief."), new("user", "Hi"), new("assistant", "Hello."), new("user", "Shorten.\nA long text.")], factory.Prompt);
        PreferencePair transcript = Assert.Single(ReadPairs("""{"chosen":"\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d","rejected":"\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: e"}""", out _));
        Assert.Equal([new("user", "a"), new("assistant", "b"), new("user", "c")], transcript.Prompt);
        Assert.Equal(("d", "e"), (transcript.Chosen, transcript.Rejected));
    }

    [Theory]
    [InlineData("""{"prompt":"a","chosen":"b","rejected":"c","margin":0.5}""", 0.5)]
    [InlineData("""{"prompt":"a","chosen":"b","rejected":"c","score_chosen":9,"score_rejected":2.5}""", 6.5)]
    [InlineData("""{"prompt":"a","chosen":"b","rejected":"c","score_chosen":9}""", null)]
    public void Margins_are_given_or_the_difference_of_scores(string line, double? margin) =>
        Assert.Equal(margin, Assert.Single(ReadPairs(line, out _)).Margin);

    [Fact]
    public void What_cannot_be_learnt_from_is_dropped_and_counted()
    {
        Assert.Empty(ReadPairs(string.Join('\n',
            """{"prompt":"a","chosen":"b","rejected":"b"}""",
            """{"prompt":"a","chosen":" ","rejected":"b"}""",
            """{"prompt":"a","chosen":"b","rejected":""}""",
            """{"prompt":"","chosen":"b","rejected":"c"}""",
            """{"chosen":"one","rejected":"two"}""",
            """{"chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"a"},{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"rejected":[{"role":"user","content":"q"},{"role":"assistant","content":"b"}]}"""), out DataCounts counts));
        Assert.Equal("6 read, 0 kept, dropped: 1 answers of several turns, 2 empty answers, 2 empty prompt, 1 equal answers", counts.ToString());
    }

    [Theory]
    [InlineData("""{"prompt":"a","chosen":"b"}""", "line 1: 'rejected' is missing; the fields are prompt, chosen")]
    [InlineData("""{"prompt":"a","chosen":null,"rejected":"b"}""", "line 1: 'chosen' is missing")]
    [InlineData("""{"prompt":"a","chosen":3,"rejected":"b"}""", "'chosen' must be a string or a list of messages")]
    [InlineData("""{"prompt":"a","chosen":"b","rejected":"c","margin":"much"}""", "'margin' must be a finite number")]
    [InlineData("""{"prompt":[{"role":"user","content":[{"type":"image"}]}],"chosen":"b","rejected":"c"}""", "'prompt' must hold messages whose content is text")]
    [InlineData("""{"instruction":"a","history":["b"],"chosen":"b","rejected":"c"}""", "'history' must be a list of [question, answer]")]
    [InlineData("""{"messages":[{"role":"user","content":"a"}],"rejected_response":"b"}""", "'messages' must end with the assistant's chosen answer")]
    [InlineData("""{"prompt":"a","chosen":"b","rejected":"\ud83d"}""", "'rejected' holds text that is not Unicode")]
    [InlineData("""{"prompt":[{"role":"user","content":"\ud83d"}],"chosen":"b","rejected":"c"}""", "'prompt' holds text that is not Unicode")]
    [InlineData("""{"instruction":"a","history":[["\ude00","b"]],"chosen":"b","rejected":"c"}""", "'history' holds text that is not Unicode")]
    [InlineData("{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\"", "line 1: not JSON")]
    [InlineData("""[{"prompt":"a","chosen":"b","rejected":"c"}] [{}]""", "something stands behind the array's end")]
    [InlineData("""[{"prompt":"a","chosen":"b","rejected":"c"},""", "item 2: the file ends before its array does")]
    [InlineData("""[{"prompt":"a","chosen":"b","rejected":"c"} 1]""", "item 2: not JSON")]
    public void Wrong_examples_are_refused_with_their_place(string text, string complaint)
    {
        DataException refused = Assert.Throws<DataException>(() => ReadPairs(text, out _));
        Assert.StartsWith(folder, refused.Message, StringComparison.Ordinal);
        Assert.Contains(complaint, refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("lines.jsonl", false)]
    [InlineData("lines.jsonl.gz", false)]
    [InlineData("array.json", true)]
    [InlineData("array.json.gz", true)]
    public void Lines_and_arrays_are_read_plain_and_compressed(string name, bool array)
    {
        // Examples of many sizes, so that they end everywhere in the reader's buffer.
        string[] texts = [.. Enumerable.Range(0, 60).Select(index => new string((char)('a' + index % 26), index * index * 37))];
        string[] rows = [.. texts.Select((text, index) => $$"""{"prompt":"{{index}} ü","chosen":"x{{text}}","rejected":"y"}""")];
        string content = "\uFEFF" + (array ? $" [\n{string.Join(" ,\n", rows)}\n]\n" : string.Join("\r\n", rows.Append("").Append("  ").Append("""{"prompt":"last","chosen":"b","rejected":"c"}""")));
        string path = Write(name, Encoding.UTF8.GetBytes(content));
        PreferencePair[] pairs = [.. PreferenceData.Pairs(path, new DataCounts())];
        Assert.Equal(array ? 60 : 61, pairs.Length);
        Assert.Equal(texts.Select((text, index) => ($"{index} ü", $"x{text}")), pairs.Take(60).Select(pair => (pair.Prompt[0].Content, pair.Chosen)));
    }

    [Theory]
    [InlineData("long.jsonl", "")]
    [InlineData("long.json", "[")]
    public void An_example_without_end_is_refused_before_it_is_read(string name, string before)
    {
        string path = At(name);
        using (FileStream file = File.Create(path))
        {
            file.Write(Encoding.UTF8.GetBytes(before + "{\"prompt\":\""));
            file.Write(Encoding.UTF8.GetBytes(new string('a', 40 << 20)));
            file.SetLength(3L << 30); // sparse
        }
        long allocated = GC.GetTotalAllocatedBytes();
        Assert.Contains("longer than 16777216 bytes", Assert.Throws<DataException>(() => PreferenceData.Pairs(path, new DataCounts()).Count()).Message, StringComparison.Ordinal);
        Assert.InRange(GC.GetTotalAllocatedBytes() - allocated, 0, 256 << 20);
    }

    [Theory]
    [InlineData("long.jsonl", "", "")]
    [InlineData("long.json", "[", "]")]
    public void An_example_that_is_too_long_is_refused_though_it_ends(string name, string before, string behind)
    {
        string path = At(name);
        File.WriteAllText(path, $$"""{{before}}{"prompt":"{{new string('a', (16 << 20) + 1)}}","chosen":"b","rejected":"c"}{{behind}}""");
        Assert.Contains("longer than 16777216 bytes", Assert.Throws<DataException>(() => PreferenceData.Pairs(path, new DataCounts()).Count()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Bytes_that_are_not_UTF_8_are_refused_with_their_place()
    {
        string path = Path.Combine(folder, "latin.jsonl");
        File.WriteAllBytes(path, Encoding.Latin1.GetBytes("""{"prompt":"café","chosen":"b","rejected":"c"}"""));
        Assert.Contains("latin.jsonl, line 1: 'prompt' holds text that is not Unicode", Assert.Throws<DataException>(() => PreferenceData.Pairs(path, new DataCounts()).Count()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Images_are_files_beside_the_data_data_URLs_or_bytes()
    {
        string path = Write("seen.jsonl", Encoding.UTF8.GetBytes(string.Join('\n',
            """{"prompt":"<image>Sky?","image":"a.png","chosen":"Blue.","rejected":"Red."}""",
            """{"prompt":"<image>\nSky?","images":["b/a.png","/c.png","data:image/png;base64,AAAA"],"chosen":"Blue.","rejected":"Red."}""",
            """{"prompt":"Sky?","images":[{"bytes":"AAAA","path":"a.png"},{"bytes":null,"path":"d.png"}],"chosen":"Blue.","rejected":"Red."}""")));
        string[][] expected = [[At("a.png")], [At("b/a.png"), "/c.png", "data:image/png;base64,AAAA"], ["data:;base64,AAAA", At("d.png")]];
        Assert.Equal(expected, PreferenceData.Pairs(path, new DataCounts()).Select(pair => pair.Prompt.Single(turn => turn.Content == "Sky?").Images));
        string there = Path.Combine(Directory.CreateDirectory(At("there")).FullName, "seen.jsonl");
        File.WriteAllLines(there, DataFile.Read(path).Select(row => row.ToJson(path, there)));
        Assert.Equal(expected, PreferenceData.Pairs(there, new DataCounts()).Select(pair => pair.Prompt[0].Images));
        Assert.Equal(File.ReadAllLines(path), DataFile.Read(path).Select(row => row.ToJson(path, At("other.jsonl"))));
        foreach (string wrong in (string[])["\"image\":\"\"", "\"image\":3", "\"images\":[{\"bytes\":null}]", "\"images\":[null]"])
            Assert.Contains("must name image files", Assert.Throws<DataException>(() => ReadPairs($$"""{"prompt":"Sky?",{{wrong}},"chosen":"Blue.","rejected":"Red."}""", out _)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Parquet_is_read_with_its_nested_rows()
    {
        ParquetPair[] rows = [.. Enumerable.Range(0, 250).Select(index => new ParquetPair
        {
            Chosen = [new Turn { Role = "user", Content = $"q{index}" }, new Turn { Role = "assistant", Content = "yes" }],
            Rejected = [new Turn { Role = "user", Content = $"q{index}" }, new Turn { Role = "assistant", Content = "no" }],
            Margin = index % 2 == 0 ? index : null,
        })];
        string path = At("pairs.parquet");
        await ParquetSerializer.SerializeAsync(rows, path, new Parquet.ParquetOptions { CompressionMethod = Parquet.CompressionMethod.Snappy, RowGroupSize = 100 }, cancellationToken: Cancel);
        PreferencePair[] pairs = [.. PreferenceData.Pairs(path, new DataCounts())];
        Assert.Equal(rows.Select((row, index) => ($"q{index}", "yes", "no", row.Margin)), pairs.Select(pair => (pair.Prompt[0].Content, pair.Chosen, pair.Rejected, pair.Margin)));
    }

    [Fact]
    public async Task Broken_files_are_refused_by_name()
    {
        string path = At("pairs.parquet");
        await ParquetSerializer.SerializeAsync([new ParquetPair { Chosen = [new Turn { Role = "user", Content = new string('a', 1000) }] }], path, cancellationToken: Cancel);
        byte[] whole = File.ReadAllBytes(path);
        foreach (byte[] broken in (byte[][])[[], whole[..40], whole[..^3], [.. whole.Select((value, index) => index is > 4 and < 60 ? (byte)0xFF : value)]])
        {
            File.WriteAllBytes(path, broken);
            Assert.Contains("not a whole Parquet file", Assert.Throws<DataException>(() => PreferenceData.Pairs(path, new DataCounts()).Count()).Message, StringComparison.Ordinal);
        }
        await ParquetSerializer.SerializeAsync([new ParquetPair { Chosen = [new Turn { Role = "user", Content = new string('a', 17 << 20) }] }], path, cancellationToken: Cancel);
        Assert.Contains("row 1: longer than 16777216 bytes", Assert.Throws<DataException>(() => PreferenceData.Pairs(path, new DataCounts()).Count()).Message, StringComparison.Ordinal);
        string zipped = Write("pairs.jsonl.gz", Encoding.UTF8.GetBytes("""{"prompt":"a","chosen":"b","rejected":"c"}"""));
        byte[] good = File.ReadAllBytes(zipped);
        File.WriteAllBytes(zipped, good[..^4]); // cut where all its lines are whole
        Assert.Contains($"{zipped}: not a whole gzip file", Assert.Throws<DataException>(() => PreferenceData.Pairs(zipped, new DataCounts()).Count()).Message, StringComparison.Ordinal);
        good[12] ^= 0xFF;
        File.WriteAllBytes(zipped, good);
        Assert.Contains(zipped, Assert.Throws<DataException>(() => PreferenceData.Pairs(zipped, new DataCounts()).Count()).Message, StringComparison.Ordinal);
        Assert.Contains("is a folder", Assert.Throws<DataException>(() => PreferenceData.Pairs(folder, new DataCounts()).Count()).Message, StringComparison.Ordinal);
        Assert.Throws<FileNotFoundException>(() => PreferenceData.Pairs(Path.Combine(folder, "none"), new DataCounts()).Count());
    }

    [Fact]
    public void Rankings_stand_in_order_and_lists_without_labels_do_not_tell_it()
    {
        string path = Write("sets.jsonl", Encoding.UTF8.GetBytes(string.Join('\n',
            """{"prompt":"q","responses":["b","d","a","c","c2"],"scores":[2,0.5,3,1,1]}""",
            """{"prompt":"q","responses":["b","a"],"ranks":[2,1]}""",
            """{"prompt":"q","chosen":"b","rejected":"a"}""",
            """{"prompt":"q","responses":["a","a"],"scores":[1,2]}""")));
        DataCounts counts = new();
        ResponseSet[] ranked = [.. PreferenceData.Rankings(path, counts)];
        Assert.Equal(["a b c d", "a b", "b a"], ranked.Select(set => string.Join(' ', set.Responses)));
        Assert.Equal([3, 2, 1, 0.5], ranked[0].Scores!);
        Assert.Equal("4 read, 3 kept, dropped: 1 equal answers", counts.ToString());
        ResponseSet[] free = [.. PreferenceData.Unlabelled(path, new DataCounts())];
        Assert.Equal(["a b c c2 d", "a b", "a b"], free.Select(set => string.Join(' ', set.Responses)));
        Assert.All(free, set => Assert.Null(set.Scores));
        string wrong = Write("wrong.jsonl", """{"prompt":"q","responses":["b","a"],"scores":[1]}"""u8.ToArray());
        Assert.Contains("'scores' holds 1 numbers for 2 responses", Assert.Throws<DataException>(() => PreferenceData.Rankings(wrong, new DataCounts()).Count()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Passages_are_texts_or_conversations_that_an_answer_ends()
    {
        string path = Write("texts.jsonl", Encoding.UTF8.GetBytes(string.Join('\n',
            """{"text":"Once."}""",
            """{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}""",
            """{"prompt":"q","completion":"a"}""",
            """{"instruction":"q","input":"","output":"a"}""",
            """{"conversations":[{"from":"human","value":"q"}]}""",
            """{"text":" "}""")));
        DataCounts counts = new();
        Passage[] passages = [.. PreferenceData.Passages(path, counts)];
        Assert.Equal("Once.", passages[0].Text);
        Assert.All(passages[1..], passage => Assert.Equal([new Message("user", "q"), new Message("assistant", "a")], passage.Messages!));
        Assert.Equal("6 read, 4 kept, dropped: 1 empty text, 1 no answer at the end", counts.ToString());
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private List<PreferencePair> ReadPairs(string text, out DataCounts counts) =>
        [.. PreferenceData.Pairs(Write("pairs.jsonl", Encoding.UTF8.GetBytes(text)), counts = new DataCounts())];

    private string At(string name) => Path.Combine(folder, name);

    private string Write(string name, byte[] content)
    {
        string path = At(name);
        using FileStream file = File.Create(path);
        using Stream stream = name.EndsWith(".gz", StringComparison.Ordinal) ? new GZipStream(file, CompressionLevel.Fastest) : file;
        stream.Write(content);
        return path;
    }

    private sealed class Turn
    {
        [System.Text.Json.Serialization.JsonPropertyName("role")]
        public string? Role { get; set; }

        [System.Text.Json.Serialization.JsonPropertyName("content")]
        public string? Content { get; set; }
    }

    private sealed class ParquetPair
    {
        [System.Text.Json.Serialization.JsonPropertyName("chosen")]
        public List<Turn>? Chosen { get; set; }

        [System.Text.Json.Serialization.JsonPropertyName("rejected")]
        public List<Turn>? Rejected { get; set; }

        [System.Text.Json.Serialization.JsonPropertyName("margin")]
        public double? Margin { get; set; }
    }
}
