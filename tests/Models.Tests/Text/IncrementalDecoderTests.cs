namespace XDeepServe.Models.Tests.Text;

/// <summary>Text that comes token by token is the text of all tokens, and never holds half a character.</summary>
public sealed class IncrementalDecoderTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Pieces_of_any_tokens_add_up_to_the_whole(bool skipSpecialTokens)
    {
        var tokenizer = TokenizerFiles.LoadNanoMoe();
        var random = new Random(3);
        for (var round = 0; round < 500; round++)
        {
            // Mostly single bytes, so that broken characters of all kinds appear.
            var ids = Enumerable.Range(0, random.Next(40)).Select(_ => random.Next(random.Next(2) == 0 ? 256 : tokenizer.VocabularySize + 5)).ToArray();
            var decoder = tokenizer.CreateDecoder(skipSpecialTokens);
            var text = string.Concat(ids.Select(decoder.Append)) + decoder.Flush();
            Assert.Equal(tokenizer.Decode(ids, skipSpecialTokens), text);
            Assert.Equal("", decoder.Flush());
        }
    }

    [Fact]
    public void A_character_appears_when_its_last_byte_is_there()
    {
        var tokenizer = new SmallTokenizer().Make();
        var decoder = tokenizer.CreateDecoder(skipSpecialTokens: false);
        Assert.Equal(["", "", "", "😀", "a", "", "", "中"], "😀a中"u8.ToArray().Select(value => decoder.Append(value)));
        Assert.Equal("", decoder.Append(0xE4));
        Assert.Equal("\uFFFDx", decoder.Append('x'));
        Assert.Equal("", decoder.Append(0xF0));
        Assert.Equal("\uFFFD", decoder.Flush());
    }

    [Fact]
    public void No_piece_of_real_text_is_a_replacement_character()
    {
        var tokenizer = TokenizerFiles.LoadNanoMoe();
        var text = "Emoji 👩‍👩‍👧‍👦 and 日本語, ὕδωρ, עִבְרִית, naïve ☃︎ 𝔘𝔫𝔦𝔠𝔬𝔡𝔢.";
        var decoder = tokenizer.CreateDecoder(skipSpecialTokens: true);
        var pieces = tokenizer.Encode(text).Select(decoder.Append).ToArray();
        Assert.DoesNotContain(pieces, piece => piece.Contains('\uFFFD', StringComparison.Ordinal));
        Assert.DoesNotContain(pieces, piece => piece.Length > 0 && (char.IsLowSurrogate(piece[0]) || char.IsHighSurrogate(piece[^1])));
        Assert.Equal(text, string.Concat(pieces) + decoder.Flush());
    }
}
