using System.Text.Json.Nodes;
using XDeepServe.Models.Text;
using XDeepServe.Models.Text.Normalizing;
using XDeepServe.Models.Text.Splitting;

namespace XDeepServe.Models.Tests.Text;

/// <summary>What normalizers and pre-tokenizers do, and the patterns that .NET cannot say.</summary>
public sealed class SettingsTests
{
    [Theory]
    [InlineData("{\"type\":\"NFD\"}", "é가", "e\u0301\u1100\u1161")]
    [InlineData("{\"type\":\"NFKC\"}", "ﬁ Ⅷ ½ ² ｱﾞ e\u0301 ㍿", "fi VIII 1⁄2 2 ア\u3099 é 株式会社")]
    [InlineData("{\"type\":\"NFKD\"}", "ﬁé", "fie\u0301")]
    [InlineData("{\"type\":\"NFKC\"}", "𝔘𝔫𝔦 \u00A0x", "Uni  x")]
    [InlineData("{\"type\":\"Lowercase\"}", "ÀİΣ😀A", "ài\u0307σ😀a")]
    [InlineData("{\"type\":\"StripAccents\"}", "e\u0301\u0903", "e")]
    [InlineData("{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":false}", " \t a ", "a ")]
    [InlineData("{\"type\":\"Prepend\",\"prepend\":\"▁\"}", "a", "▁a")]
    [InlineData("{\"type\":\"Prepend\",\"prepend\":\"▁\"}", "", "")]
    [InlineData("{\"type\":\"Replace\",\"pattern\":{\"String\":\"ab\"},\"content\":\"x\"}", "ababa", "xxa")]
    [InlineData("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\" \"}", "a   b  c", "a b c")]
    [InlineData("{\"type\":\"Nmt\"}", "a\u0001\tb\u200Bc", "a b c")]
    [InlineData("{\"type\":\"BertNormalizer\"}", "Héllo\u0000\t中A", "hello  中 a")]
    [InlineData("{\"type\":\"BertNormalizer\",\"lowercase\":false,\"handle_chinese_chars\":false}", "Hé中", "Hé中")]
    [InlineData("{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"StripAccents\"},{\"type\":\"Lowercase\"}]}]}", "ÀB", "ab")]
    public void Normalizers_rewrite(string setting, string text, string expected)
    {
        foreach (var normalizer in NormalizerReader.Read(System.Text.Json.JsonDocument.Parse(setting).RootElement))
            text = normalizer.Normalize(text);
        Assert.Equal(expected, text);
    }

    [Theory]
    [InlineData("{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"always\"}", "a b  c", "▁a|▁b|▁|▁c")]
    [InlineData("{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"add_prefix_space\":true}", " a", "▁a")]
    [InlineData("{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"never\"}", "a b", "a|▁b")]
    [InlineData("{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"first\",\"split\":false}", "a b", "▁a▁b")]
    [InlineData("{\"type\":\"Digits\",\"individual_digits\":true}", "a12b", "a|1|2|b")]
    [InlineData("{\"type\":\"Digits\"}", "a12b", "a|12|b")]
    [InlineData("{\"type\":\"Punctuation\"}", "a,b$!", "a|,|b|$|!")]
    [InlineData("{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}", "a,!b", "a|,!|b")]
    [InlineData("{\"type\":\"Whitespace\"}", "a_1 b! ?", "a_1|b|!|?")]
    [InlineData("{\"type\":\"WhitespaceSplit\"}", " a  b! ", "a|b!")]
    [InlineData("{\"type\":\"BertPreTokenizer\"}", "a b,c", "a|b|,|c")]
    [InlineData("{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"-\"}", "a-b--c", "a|b|c")]
    [InlineData("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"always\"}]}", "a b", "▁a|▁b")]
    [InlineData("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x$\"},\"behavior\":\"Isolated\",\"invert\":false}", "ax\nbx", "a|x|\nb|x")]
    public void Pre_tokenizers_split(string setting, string text, string expected)
    {
        var buffer = new PieceBuffer();
        buffer.Reset(text.AsMemory(), first: true);
        foreach (var step in new PreTokenizerReader(System.Text.Json.JsonDocument.Parse(setting).RootElement).Steps)
            step.Run(buffer);
        Assert.Equal(expected, string.Join('|', buffer.Pieces.ToArray().Select(piece => buffer.Text.Slice(piece.Start, piece.Length).ToString())));
    }

    [Fact]
    public void Only_the_start_of_the_input_is_first()
    {
        var tokenizer = SmallTokenizers.Make(SmallTokenizers.Unigram, root =>
            root["pre_tokenizer"] = JsonNode.Parse("""{"type":"Metaspace","replacement":"▁","prepend_scheme":"first"}"""));
        Assert.Equal(["▁ab", "</s>", "ab", "</s>", "▁ab"], tokenizer.Encode("ab</s>ab</s> ab").Select(tokenizer.Piece));
        Assert.Equal(["</s>", "ab"], tokenizer.Encode("</s>ab").Select(tokenizer.Piece));
    }

    [Fact]
    public void Chinese_characters_stay_apart_as_Kimi_wants_it()
    {
        // The same expression in .NET's terms, for characters of the basic plane.
        const string Han = @"\u2E80-\u2E99\u2E9B-\u2EF3\u2F00-\u2FD5\u3005\u3007\u3021-\u3029\u3038-\u303B\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFA6D\uFA70-\uFAD9";
        var twin = new System.Text.RegularExpressions.Regex(CasedWords.HanSource
            .Replace(@"[\p{Han}]+", $"[{Han}]+", StringComparison.Ordinal).Replace(@"&&[^\p{Han}]]", $"-[{Han}]]", StringComparison.Ordinal));
        var random = new Random(12);
        string[] alphabet = ["a", "b", "Z", "Q", "ǅ", "ʰ", "א", "中", "〇", "々", "⺀", "の", "\u0301", "1", "२", " ", "  ", "\n", "\r", "\t", "'s", "'LL", "'", "!", "$", "/", "\u00A0", "\u200B"];
        var pattern = Pattern.FromRegex(CasedWords.HanSource);
        Assert.IsType<CasedWords>(pattern);
        for (var round = 0; round < 20_000; round++)
        {
            var text = string.Concat(Enumerable.Range(0, random.Next(1, 12)).Select(_ => alphabet[random.Next(alphabet.Length)]));
            Assert.Equal(twin.Matches(text).Select(match => match.Value), Pieces(pattern, text));
        }
    }

    [Fact]
    public void Long_runs_are_cut_as_Kimi_does()
    {
        var buffer = new PieceBuffer();
        var text = new string('a', 60_000) + new string(' ', 25_001) + string.Concat(Enumerable.Repeat("ab ", 200_000));
        buffer.Reset(text.AsMemory(), first: true);
        new LongRuns().Run(buffer);
        Assert.Equal([25_000, 25_000, 10_000 + 25_000, 1 + 314_999, 600_000 - 314_999], buffer.Pieces.ToArray().Select(piece => piece.Length));
    }

    private static List<string> Pieces(Pattern pattern, string text)
    {
        var matches = new PieceList();
        pattern.Match(text, matches);
        return [.. matches.Span.ToArray().Select(match => text.Substring(match.Start, match.Length))];
    }
}
