using System.Text;
using System.Text.Json.Nodes;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Tests.Text;

/// <summary>What the settings of tokenizer.json mean.</summary>
public sealed class TokenizerTests
{
    [Fact]
    public void Merges_go_by_rank_and_then_from_the_left()
    {
        var tokenizer = new SmallTokenizer().Merge("b", "c").Merge("a", "b").Merge("a", "a").Make();
        Assert.Equal(["a", "bc"], Pieces(tokenizer, "abc"));
        Assert.Equal(["ab"], Pieces(tokenizer, "ab"));
        Assert.Equal(["aa", "aa", "a"], Pieces(tokenizer, "aaaaa"));
    }

    [Fact]
    public void Long_pieces_merge_as_short_ones_do()
    {
        var tokenizer = new SmallTokenizer().Merge("a", "b").Merge("ab", "ab").Merge("b", "a").Merge("a", "a").Merge("abab", "a").Make();
        var random = new Random(1);
        for (var round = 0; round < 200; round++)
        {
            var text = string.Concat(Enumerable.Range(0, random.Next(1, 200)).Select(_ => (char)('a' + random.Next(2))));
            Assert.Equal(MergeSlowly(text, ["a b", "ab ab", "b a", "a a", "abab a"]), Pieces(tokenizer, text));
        }
    }

    [Fact]
    public void Added_tokens_are_found_first_and_the_longest_wins()
    {
        var tokenizer = new SmallTokenizer().Add("<a>", 300).Add("<a><b>", 301).Add("<b>", 302, special: false).Make();
        Assert.Equal([301, 302, 'x'], tokenizer.Encode("<a><b><b>x"));
        Assert.Equal([300, 'x'], tokenizer.Encode("<a>x"));
        Assert.Equal("<a>x"u8.ToArray().Select(b => (int)Id(tokenizer, b)), tokenizer.Encode("<a>x", parseSpecial: false));
        Assert.Equal([302], tokenizer.Encode("<b>", parseSpecial: false));
        Assert.Equal("x", tokenizer.Decode([300, 'x'], skipSpecialTokens: true));
        Assert.Equal("<a>x<b>", tokenizer.Decode([300, 'x', 302]));
        Assert.True(tokenizer.IsSpecial(300) && !tokenizer.IsSpecial(302) && !tokenizer.IsSpecial('x') && !tokenizer.IsSpecial(-1) && !tokenizer.IsSpecial(9999));
        Assert.Equal(303, tokenizer.VocabularySize);
    }

    [Fact]
    public void A_quoted_special_token_is_text_within_a_text_that_has_real_ones()
    {
        var tokenizer = new SmallTokenizer().Add("<a>", 300).Add("x", 301).Add("<b>", 302, special: false).Add("<n>", 303, normalized: true).Make();
        foreach (var written in (string[])["<a>", "say <a>x</a>", "x", "<b> and <n>", "\uFDD0<a>", "no", "é<a><a>"])
        {
            var text = tokenizer.Encode(written.Replace("\uFDD0", "", StringComparison.Ordinal), parseSpecial: false);
            Assert.Equal([300, .. text, 303], tokenizer.EncodeQuoted($"<a>{tokenizer.Quote(written)}<n>"));
        }
        Assert.Equal("no", tokenizer.Quote("no"));
    }

    [Fact]
    public void Added_tokens_swallow_white_space_and_mind_words_where_they_say_so()
    {
        var tokenizer = new SmallTokenizer().Add("<l>", 300, left: true).Add("<r>", 301, right: true).Add("word", 302, singleWord: true).Make();
        Assert.Equal(['a', 300, ' ', 'b'], tokenizer.Encode("a \n <l> b"));
        Assert.Equal(['a', ' ', 301, 'b'], tokenizer.Encode("a <r> \t b"));
        Assert.Equal([302], tokenizer.Encode("word"));
        Assert.DoesNotContain(302, tokenizer.Encode("words"));
        Assert.DoesNotContain(302, tokenizer.Encode("password"));
        Assert.Contains(302, tokenizer.Encode("(word)"));
    }

    [Fact]
    public void Normalized_tokens_are_looked_for_in_normalized_text()
    {
        var small = new SmallTokenizer().Add("é", 300, special: false, normalized: true).Add("e\u0301!", 301, special: false);
        small.Root["normalizer"] = new JsonObject { ["type"] = "NFC" };
        var tokenizer = small.Make();
        Assert.Equal([300], tokenizer.Encode("e\u0301"));
        Assert.Equal([301], tokenizer.Encode("e\u0301!"));
    }

    [Fact]
    public void Templates_put_tokens_around_a_text_on_demand()
    {
        var small = new SmallTokenizer().Add("<s>", 300).Add("</s>", 301);
        small.Root["post_processor"] = JsonNode.Parse("""
            {"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"</s>","type_id":0}}],
             "special_tokens":{"<s>":{"id":"<s>","ids":[300]},"</s>":{"id":"</s>","ids":[301]}}}
            """);
        Assert.Equal([300, 'x', 301], small.Make().Encode("x", addSpecialTokens: true));
        Assert.Equal(['x'], small.Make().Encode("x"));
    }

    [Fact]
    public void A_prefix_space_is_added_where_there_is_none()
    {
        var small = new SmallTokenizer();
        small.Root["pre_tokenizer"]!["add_prefix_space"] = true;
        Assert.Equal([' ', 'x'], small.Make().Encode("x"));
        Assert.Equal([' ', 'x'], small.Make().Encode(" x"));
        Assert.Empty(small.Make().Encode(""));
    }

    [Fact]
    public void Lone_surrogates_become_replacement_characters()
    {
        var tokenizer = new SmallTokenizer().Make();
        Assert.Equal("a\uFFFDb\uFFFD", tokenizer.Decode(tokenizer.Encode("a\uD800b\uDC00")));
    }

    [Fact]
    public void Special_tokens_and_template_are_read_from_the_configuration()
    {
        var small = new SmallTokenizer().Add("<s>", 300);
        var tokenizer = Tokenizer.FromJson(Encoding.UTF8.GetBytes(small.Root.ToJsonString()), Encoding.UTF8.GetBytes("""
            {"bos_token":{"content":"<s>"},"eos_token":"</s>","chat_template":[{"name":"tool_use","template":"T"},{"name":"default","template":"D"}],
             "added_tokens_decoder":{"301":{"content":"</s>","special":true}}}
            """));
        Assert.Equal(("<s>", 300, "</s>", 301, "D"), (tokenizer.BosToken, tokenizer.BosId, tokenizer.EosToken, tokenizer.EosId, tokenizer.ChatTemplate));
        Assert.Equal("</s>", tokenizer.Decode([301]));
        Assert.True(tokenizer.TryGetId("</s>", out var id) && id == 301);
        Assert.False(tokenizer.TryGetId("nothing", out _));
    }

    [Theory] // a quadratic path would take minutes
    [InlineData("a")]
    [InlineData(" ")]
    [InlineData("\n")]
    [InlineData("ab")]
    [InlineData("!")]
    [InlineData("7")]
    [InlineData("中")]
    [InlineData("😀")]
    [InlineData(" \n")]
    [InlineData("<|")]
    [InlineData("<|im_end|>")]
    [InlineData("e\u0301")]
    public void Monotonous_text_of_a_megabyte_comes_back(string unit)
    {
        var tokenizer = TokenizerFiles.LoadNanoMoe();
        var text = string.Concat(Enumerable.Repeat(unit, (1 << 20) / unit.Length));
        Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text)));
    }

    [Fact]
    public void Many_threads_share_a_tokenizer()
    {
        var tokenizer = TokenizerFiles.LoadNanoMoe();
        var texts = Enumerable.Range(0, 200).Select(i => $"Text number {i} says hello {i * i} times, naïve as ever.").ToArray();
        var expected = texts.Select(text => tokenizer.Encode(text)).ToArray();
        Parallel.For(0, 2000, i => Assert.Equal(expected[i % 200], tokenizer.Encode(texts[i % 200])));
    }

    private static IEnumerable<string> Pieces(Tokenizer tokenizer, string text) => tokenizer.Encode(text).Select(tokenizer.Piece);

    private static int Id(Tokenizer tokenizer, byte value) =>
        tokenizer.TryGetId(ByteAlphabet.ToCharacter(value).ToString(), out var id) ? id : -1;

    /// <summary>The definition of byte-pair encoding, word by word.</summary>
    private static List<string> MergeSlowly(string text, string[] merges)
    {
        var symbols = text.Select(c => c.ToString()).ToList();
        while (true)
        {
            var best = (Rank: int.MaxValue, At: -1);
            for (var i = 0; i + 1 < symbols.Count; i++)
                if (Array.IndexOf(merges, $"{symbols[i]} {symbols[i + 1]}") is >= 0 and var rank && rank < best.Rank)
                    best = (rank, i);
            if (best.At < 0)
                return symbols;
            symbols[best.At] += symbols[best.At + 1];
            symbols.RemoveAt(best.At + 1);
        }
    }
}
