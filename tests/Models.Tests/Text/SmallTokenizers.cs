using System.Text;
using System.Text.Json.Nodes;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Tests.Text;

/// <summary>Tokenizers of every kind, of a few tokens each, as their files.</summary>
internal static class SmallTokenizers
{
    /// <summary>Bytes and some merges, with most settings.</summary>
    public static string ByteLevel { get; } = MakeByteLevel();

    /// <summary>Byte-pair encoding of plain text with byte fallback, as Llama 2 has it.</summary>
    public static string SentencePiece { get; } = MakeSentencePiece();

    /// <summary>A unigram model, as T5 and XLM-R have it.</summary>
    public static string Unigram { get; } = """
        {"added_tokens":[{"id":0,"content":"<unk>","special":true},{"id":1,"content":"</s>","special":true}],
         "normalizer":{"type":"Sequence","normalizers":[{"type":"Nmt"},{"type":"NFKC"},{"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "}]},
         "pre_tokenizer":{"type":"Metaspace","replacement":"▁","add_prefix_space":true},
         "post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}},{"SpecialToken":{"id":"</s>"}}],"special_tokens":{"</s>":{"id":"</s>","ids":[1]}}},
         "decoder":{"type":"Metaspace","replacement":"▁","add_prefix_space":true},
         "model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["</s>",0],["▁",-2.0],["a",-3.1],["b",-3.3],["ab",-4.0],["abb",-5.5],["▁ab",-4.5],["ba",-4.2],["▁a",-4.1],["bab",-6.0],["abab",-7.9],["é",-8]]}}
        """;

    /// <summary>Makes a tokenizer of one of these, changed first if asked for.</summary>
    public static Tokenizer Make(string json, Action<JsonObject>? change = null)
    {
        var root = JsonNode.Parse(json)!.AsObject();
        change?.Invoke(root);
        return Tokenizer.FromJson(Encoding.UTF8.GetBytes(root.ToJsonString()));
    }

    private static string MakeByteLevel()
    {
        var small = new SmallTokenizer().Merge("a", "b").Merge("ab", "b").Merge("Ġ", "a").Add("<s>", 300).Add(" x", 301, normalized: true);
        small.Root["normalizer"] = JsonNode.Parse("""{"type":"NFC"}""");
        small.Root["pre_tokenizer"] = JsonNode.Parse("""
            {"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"Split","pattern":{"Regex":"\\p{L}+|\\s+"},"behavior":"Isolated","invert":false},
             {"type":"ByteLevel","add_prefix_space":false,"use_regex":true}]}
            """);
        return small.Root.ToJsonString();
    }

    private static string MakeSentencePiece()
    {
        var vocabulary = new JsonObject { ["<unk>"] = 0, ["<s>"] = 1, ["</s>"] = 2 };
        for (var value = 0; value < 256; value++)
            vocabulary[$"<0x{value:X2}>"] = vocabulary.Count;
        foreach (var token in new[] { "▁", "a", "b", "c", "▁a", "ab", "▁ab", "▁▁", "bc", "▁▁▁▁", "aa" })
            vocabulary[token] = vocabulary.Count;
        return new JsonObject
        {
            ["added_tokens"] = JsonNode.Parse("""[{"id":0,"content":"<unk>","special":true},{"id":1,"content":"<s>","special":true},{"id":2,"content":"</s>","special":true}]"""),
            ["normalizer"] = JsonNode.Parse("""{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]}"""),
            ["pre_tokenizer"] = null,
            ["post_processor"] = JsonNode.Parse("""{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"id":"<s>","ids":[1]}}}"""),
            ["decoder"] = JsonNode.Parse("""
                {"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}
                """),
            ["model"] = new JsonObject
            {
                ["type"] = "BPE",
                ["unk_token"] = "<unk>",
                ["fuse_unk"] = true,
                ["byte_fallback"] = true,
                ["vocab"] = vocabulary,
                ["merges"] = new JsonArray("▁ a", "a b", "▁a b", "▁ ab", "▁ ▁", "b c", "▁▁ ▁▁", "a a"),
            },
        }.ToJsonString();
    }
}
