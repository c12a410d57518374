using XDeepServe.Models.Text;
using XDeepServe.Models.Text.Splitting;

namespace XDeepServe.Models.Tests.Text;

/// <summary>Patterns written by hand split as the regular expressions that they stand for.</summary>
public sealed class SplittingTests
{
    private static readonly string[] Alphabet =
    [
        "a", "Z", "é", "中", "の", "𝔘", "😀", "\u0301", "\u0903", "1", "२", "Ⅷ", "½", "𝟘", " ", " ", "  ", "\n", "\r\n", "\t", "\u00A0", "\u3000", "\u2028", "\u0085",
        "'", "'s", "'LL", "'Ve", "!", ".", "$", "^", "_", "`", "+", "「", "€", "\u200B", "\uFFFD", "\u0000", "\uE000", "\u00AD",
    ];

    public static TheoryData<string> Sources => new(Gpt2Words.Source, ChatWords.Source1, ChatWords.Source3, DeepSeekWords.Source, NumberRuns.Source, CasedWords.Source);

    [Theory, MemberData(nameof(Sources))]
    public void A_pattern_and_its_regular_expression_agree(string source)
    {
        var pattern = Pattern.FromRegex(source);
        Assert.IsNotType<RegexPattern>(pattern);
        var twin = new RegexPattern(source);
        var random = new Random(4);
        for (var round = 0; round < 20_000; round++)
        {
            var text = string.Concat(Enumerable.Range(0, random.Next(1, 12)).Select(_ => Alphabet[random.Next(Alphabet.Length)]));
            Assert.Equal(Pieces(twin, text), Pieces(pattern, text));
        }
    }

    [Fact]
    public void The_long_s_is_an_s_in_contractions() // as in the reference's regular expressions, unlike .NET's
    {
        Assert.Equal(["'ſ", "it"], Pieces(new ChatWords(3), "'ſit"));
        Assert.Equal(["'", "ſit"], Pieces(new Gpt2Words(), "'ſit"));
    }

    [Theory]
    [InlineData(nameof(SplitBehavior.Isolated), false, "a|-|-|b|-")]
    [InlineData(nameof(SplitBehavior.Removed), false, "a|b")]
    [InlineData(nameof(SplitBehavior.MergedWithPrevious), false, "a-|-|b-")]
    [InlineData(nameof(SplitBehavior.MergedWithNext), false, "a|-|-b|-")]
    [InlineData(nameof(SplitBehavior.Contiguous), false, "a|--|b|-")]
    [InlineData(nameof(SplitBehavior.Removed), true, "-|-|-")]
    public void Matches_become_what_the_behavior_says(string behavior, bool invert, string expected)
    {
        const string Text = "a--b-";
        var pieces = new PieceList();
        new Splitter(new LiteralPattern("-"), Enum.Parse<SplitBehavior>(behavior), invert).Split(Text, 0, new PieceList(), pieces);
        Assert.Equal(expected, string.Join('|', pieces.Span.ToArray().Select(piece => Text.Substring(piece.Start, piece.Length))));
    }

    [Theory]
    [InlineData(@"\p{L}++x*+(ab)?+", @"(?>\p{L}+)(?>x*)(?>(ab)?)")]
    [InlineData(@"[^\s]++|\d{1,3}", @"(?>[^\s]+)|\d{1,3}")]
    [InlineData(@"a+?b", @"a+?b")]
    public void Possessive_quantifiers_become_atomic_groups(string source, string expected) =>
        Assert.Equal(expected, RegexPattern.Translate(source));

    private static List<string> Pieces(Pattern pattern, string text)
    {
        var matches = new PieceList();
        pattern.Match(text, matches);
        return [.. matches.Span.ToArray().Select(match => text.Substring(match.Start, match.Length))];
    }
}
