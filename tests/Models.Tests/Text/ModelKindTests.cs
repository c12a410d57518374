using System.Text;
using System.Text.Json.Nodes;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Tests.Text;

/// <summary>Models whose vocabulary is plain text, and tiktoken's: small enough to be worked out by hand or by definition.</summary>
public sealed class ModelKindTests
{
    [Fact]
    public void Characters_outside_the_vocabulary_fall_back_to_bytes()
    {
        var tokenizer = SmallTokenizers.Make(SmallTokenizers.SentencePiece);
        Assert.Equal(["▁ab", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>", "c"], Pieces(tokenizer, "ab😀c"));
        Assert.Equal(["▁▁▁▁", "▁a", "▁▁"], Pieces(tokenizer, "    a  ").Where(piece => piece != "▁"));
        Assert.Equal("ab😀c", tokenizer.Decode(tokenizer.Encode("ab😀c")));
        Assert.Equal([1], tokenizer.Encode("", addSpecialTokens: true));
        Assert.Equal("<s> ab", tokenizer.Decode(tokenizer.Encode("ab", addSpecialTokens: true)));
        Assert.Equal("ab", tokenizer.Decode(tokenizer.Encode("ab", addSpecialTokens: true), skipSpecialTokens: true));
    }

    [Fact]
    public void Unknown_characters_are_one_token_where_they_are_fused()
    {
        foreach (var fused in new[] { true, false })
        {
            var tokenizer = SmallTokenizers.Make(SmallTokenizers.SentencePiece, root =>
            {
                root["model"]!["byte_fallback"] = false;
                root["model"]!["fuse_unk"] = fused;
            });
            Assert.Equal(fused ? ["▁a", "<unk>", "b", "<unk>"] : ["▁a", "<unk>", "<unk>", "b", "<unk>"], Pieces(tokenizer, "axybz"));
        }
    }

    [Fact]
    public void A_run_of_byte_tokens_appears_as_a_whole_or_not_at_all()
    {
        var tokenizer = SmallTokenizers.Make(SmallTokenizers.SentencePiece);
        int Byte(int value) => 3 + value;
        int[] good = [Byte(0xE4), Byte(0xB8), Byte(0xAD), Byte(0xC3), Byte(0xA9)];
        Assert.Equal("中é", tokenizer.Decode(good));
        Assert.Equal("\uFFFD\uFFFD\uFFFD\uFFFD", tokenizer.Decode(good.AsSpan(0, 4)));
        var decoder = tokenizer.CreateDecoder();
        Assert.Equal(["", "", "", "", "", "中é a"], good.Append(tokenizer.Encode("a")[0]).Select(decoder.Append));
        Assert.Equal([0xE4], tokenizer.Bytes(Byte(0xE4)).ToArray());
        Assert.Equal(" a", Encoding.UTF8.GetString(tokenizer.Bytes(tokenizer.Encode("a")[0])));
    }

    [Fact]
    public void Words_encoded_one_by_one_are_those_of_the_whole_text()
    {
        var cut = SmallTokenizers.Make(SmallTokenizers.SentencePiece);
        var whole = SmallTokenizers.Make(SmallTokenizers.SentencePiece, root =>
        {
            // A merge across words forbids the short cut; no text of this test leads to it.
            root["model"]!["vocab"]!["z▁"] = 900;
            root["model"]!["vocab"]!["z"] = 901;
            root["model"]!["merges"]!.AsArray().Add("z ▁");
        });
        Assert.Equal(["▁", "z▁", "b"], Pieces(whole, "z b"));
        var random = new Random(9);
        for (var round = 0; round < 2000; round++)
        {
            var text = string.Concat(Enumerable.Range(0, random.Next(1, 80)).Select(_ => "abc  é😀"[random.Next(6)]));
            Assert.Equal(whole.Encode(text), cut.Encode(text));
            Assert.Equal(cut.Encode(text), Tokenizer.FromGguf(cut.ToGguf()).Encode(text));
        }
    }

    [Fact]
    public void A_unigram_model_finds_the_likeliest_tokens()
    {
        var tokenizer = SmallTokenizers.Make(SmallTokenizers.Unigram);
        var scores = JsonNode.Parse(SmallTokenizers.Unigram)!["model"]!["vocab"]!.AsArray().ToDictionary(entry => (string)entry![0]!, entry => (double)entry![1]!);
        var random = new Random(10);
        for (var round = 0; round < 2000; round++)
        {
            var text = string.Concat(Enumerable.Range(0, random.Next(1, 20)).Select(_ => "ab"[random.Next(2)]));
            Assert.Equal(Best("▁" + text, scores), Pieces(tokenizer, text).Sum(piece => scores[piece]), 9);
        }
        Assert.Equal(["▁ab", "<unk>", "a", "▁", "<unk>", "</s>"], tokenizer.Encode("abxyza xq", addSpecialTokens: true).Select(tokenizer.Piece));
        Assert.Equal("ab a", tokenizer.Decode(tokenizer.Encode("ab  a")));
    }

    [Fact]
    public void A_unigram_model_falls_back_to_bytes_where_it_has_all_of_them()
    {
        var tokenizer = SmallTokenizers.Make(SmallTokenizers.Unigram, root =>
        {
            root["model"]!["byte_fallback"] = true;
            root["decoder"] = JsonNode.Parse("""{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Metaspace","replacement":"▁"}]}""");
            foreach (var value in "xé"u8.ToArray())
                root["model"]!["vocab"]!.AsArray().Add(new JsonArray($"<0x{value:X2}>", 0));
        });
        Assert.Equal(["▁a", "<0x78>", "b"], Pieces(tokenizer, "axb"));
        Assert.Equal(["▁a", "<unk>", "b"], Pieces(tokenizer, "axyb")); // y has no byte token: all of the run is unknown
        Assert.Equal("ax", tokenizer.Decode(tokenizer.Encode("ax")));
    }

    [Fact]
    public void Tiktoken_merges_by_rank_and_takes_whole_words()
    {
        var folder = Directory.CreateTempSubdirectory("xds-").FullName;
        try
        {
            var tokens = Enumerable.Range(0, 256).Select(value => new[] { (byte)value })
                .Concat(new[] { "bc", "ab", "abc", "xab", "北京", "Hello" }.Select(Encoding.UTF8.GetBytes));
            File.WriteAllLines(Path.Combine(folder, "tiktoken.model"), tokens.Select((bytes, rank) => $"{Convert.ToBase64String(bytes)} {rank}"));
            File.WriteAllText(Path.Combine(folder, "tokenizer_config.json"), """{"bos_token":"[BOS]","added_tokens_decoder":{"262":{"content":"[BOS]","special":true},"270":{"content":"<t>","special":false}}}""");
            var tokenizer = Tokenizer.FromFolder(folder);
            Assert.Equal([258], tokenizer.Encode("abc"));            // a token as a whole
            Assert.Equal(['x', 258], tokenizer.Encode("xabc")); // bc first, for its rank is the lower, then abc
            Assert.Equal([259], tokenizer.Encode("xab"));
            Assert.Equal([260, 261], tokenizer.Encode("北京Hello"));  // Chinese apart from other letters
            Assert.Equal([262, 'a', 270], tokenizer.Encode("[BOS]a<t>"));
            Assert.Equal((262, 262 + 256), (tokenizer.BosId!.Value, tokenizer.VocabularySize));
            Assert.Equal("<|reserved_token_263|>", tokenizer.Decode([263]));
            Assert.Equal("北京 naïve 😀", tokenizer.Decode(tokenizer.Encode("北京 naïve 😀")));
            File.WriteAllText(Path.Combine(folder, "tiktoken.model"), "YQ== 0\n*** 1\n");
            Assert.Contains("Line 2", Assert.Throws<TokenizerException>(() => Tokenizer.FromFolder(folder)).Message, StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Theory] // a quadratic path would take minutes
    [InlineData("a")]
    [InlineData(" ")]
    [InlineData("ab")]
    [InlineData("x")]
    [InlineData("😀")]
    [InlineData("a ")]
    [InlineData("\n")]
    [InlineData("e\u0301")]
    [InlineData("<s>")]
    public void Monotonous_text_of_a_megabyte_is_no_trouble_for_any_kind(string unit)
    {
        var text = string.Concat(Enumerable.Repeat(unit, (1 << 20) / unit.Length));
        foreach (var json in new[] { SmallTokenizers.SentencePiece, SmallTokenizers.Unigram, SmallTokenizers.ByteLevel })
        {
            var tokenizer = SmallTokenizers.Make(json);
            var ids = tokenizer.Encode(text);
            Assert.NotEmpty(ids);
            var decoder = tokenizer.CreateDecoder();
            Assert.Equal(tokenizer.Decode(ids), string.Concat(ids.Select(decoder.Append)) + decoder.Flush());
        }
    }

    private static IEnumerable<string> Pieces(Tokenizer tokenizer, string text) => tokenizer.Encode(text).Select(tokenizer.Piece);

    /// <summary>The greatest sum of scores over all ways to cut a text, by definition.</summary>
    private static double Best(string text, Dictionary<string, double> scores)
    {
        var best = new double[text.Length + 1];
        for (var end = 1; end <= text.Length; end++)
            best[end] = Enumerable.Range(0, end).Max(start => scores.TryGetValue(text[start..end], out var score) ? best[start] + score : double.NegativeInfinity);
        return best[^1];
    }
}
