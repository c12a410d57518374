using System.Text;
using XDeepServe.Models.Text.Normalizing;

namespace XDeepServe.Models.Tests.Text;

/// <summary>Normalization form C.</summary>
public sealed class NormalizingTests
{
    [Theory]
    [InlineData("plain", "plain")]
    [InlineData("e\u0301", "é")]
    [InlineData("\u212B", "Å")]                                   // a single character that is another
    [InlineData("\u0344", "\u0308\u0301")]                        // excluded from composition
    [InlineData("\u0958", "\u0915\u093C")]                        // excluded by script
    [InlineData("a\u0323\u0307", "\u1EA1\u0307")]                 // marks in order
    [InlineData("a\u0307\u0323", "\u1EA1\u0307")]                 // marks out of order
    [InlineData("\u1100\u1161\u11A8", "\uAC01")]                  // Hangul
    [InlineData("\uAC00\u11A8", "\uAC01")]
    [InlineData("\u1100\u0301\u1161", "\u1100\u0301\u1161")]      // blocked
    [InlineData("\u0300\u0301", "\u0300\u0301")]                  // nothing to stand on
    [InlineData("\U0001D157\U0001D165", "\U0001D157\U0001D165")]
    [InlineData("\U00011099\U000110BA", "\U0001109A")]
    [InlineData("o\u0308\u0304", "\u022B")]                       // twice
    [InlineData("\uF900", "\u8C48")]                              // a compatibility ideograph
    public void Text_is_composed(string text, string expected) => Assert.Equal(expected, UnicodeForm.C.Normalize(text));

    [Fact]
    public void Normal_text_stays_what_it_is()
    {
        var random = new Random(6);
        for (var round = 0; round < 2000; round++)
        {
            var text = new StringBuilder();
            for (var length = random.Next(1, 8); length > 0; length--)
                text.Append(new Rune(random.Next(3) switch { 0 => random.Next(0x300, 0x370), 1 => random.Next(0x41, 0x250), _ => random.Next(0xAC00, 0xD7A4) }));
            var once = UnicodeForm.C.Normalize(text.ToString());
            Assert.Equal(once, UnicodeForm.C.Normalize(once));
        }
    }
}
