using System.Buffers;
using System.Globalization;
using System.Text;

namespace XDeepServe.Models.Text;

/// <summary>Finds added tokens in a text: at each place the longest, from left to right.</summary>
internal sealed class AddedTokens
{
    private readonly Dictionary<(int Node, char Unit), int> edges = [];
    private readonly List<AddedToken?> ends = [null]; // [nodes of the trie] the token that ends there
    private readonly SearchValues<char> firsts;

    /// <summary>Makes the trie.</summary>
    /// <param name="tokens">The tokens with the text to look for.</param>
    public AddedTokens(IEnumerable<(AddedToken Token, string Text)> tokens)
    {
        var units = new HashSet<char>();
        foreach (var (token, text) in tokens)
        {
            if (text.Length == 0)
                continue;
            units.Add(text[0]);
            var node = 0;
            foreach (var unit in text)
            {
                if (!edges.TryGetValue((node, unit), out var next))
                {
                    edges[(node, unit)] = next = ends.Count;
                    ends.Add(null);
                }
                node = next;
            }
            ends[node] = token;
        }
        firsts = SearchValues.Create([.. units]);
    }

    /// <summary>Calls back for every part of a text in order: added tokens, and what lies between them.</summary>
    /// <param name="text">Text without lone surrogates.</param>
    /// <param name="special">Whether special tokens are found; if not they are text like any other.</param>
    /// <param name="quote">A special token behind this character is text; null for none.</param>
    /// <param name="part">Receives start, length, and the token or null.</param>
    public void Split(ReadOnlySpan<char> text, bool special, char? quote, Action<int, int, AddedToken?> part)
    {
        var placed = 0;
        for (var index = 0; index < text.Length;)
        {
            var skip = text[index..].IndexOfAny(firsts);
            if (skip < 0)
                break;
            index += skip;
            var token = LongestAt(text[index..], out var length);
            if (token is null)
            {
                index++;
                continue;
            }
            var (start, end) = (index, index + length);
            index = end;
            if ((token.Special && (!special || (start > 0 && text[start - 1] == quote))) || (token.SingleWord && !StandsAlone(text, start, end)))
                continue;
            if (token.StripLeft)
                while (start > placed && char.IsWhiteSpace(text[start - 1]))
                    start--;
            if (token.StripRight)
                while (end < text.Length && char.IsWhiteSpace(text[end]))
                    end++;
            if (start > placed)
                part(placed, start - placed, null);
            part(start, end - start, token);
            placed = index = end;
        }
        if (placed < text.Length)
            part(placed, text.Length - placed, null);
    }

    /// <summary>Puts a character before every token that is written in a text.</summary>
    public string Quote(string text, char quote)
    {
        StringBuilder? quoted = null;
        var placed = 0;
        for (var index = 0; index < text.Length;)
        {
            var skip = text.AsSpan(index).IndexOfAny(firsts);
            if (skip < 0)
                break;
            index += skip;
            var token = LongestAt(text.AsSpan(index), out var length);
            if (token is not null)
            {
                (quoted ??= new StringBuilder()).Append(text, placed, index - placed).Append(quote);
                placed = index;
            }
            index += Math.Max(1, length);
        }
        return quoted is null ? text : quoted.Append(text, placed, text.Length - placed).ToString();
    }

    private AddedToken? LongestAt(ReadOnlySpan<char> text, out int length)
    {
        AddedToken? longest = null;
        length = 0;
        var node = 0;
        for (var i = 0; i < text.Length && edges.TryGetValue((node, text[i]), out node); i++)
            if (ends[node] is { } token)
                (longest, length) = (token, i + 1);
        return longest;
    }

    private static bool StandsAlone(ReadOnlySpan<char> text, int start, int end) =>
        (start == 0 || !IsWord(text[start - 1])) && (end == text.Length || !IsWord(text[end]));

    private static bool IsWord(char unit) => char.IsLetterOrDigit(unit)
        || CharUnicodeInfo.GetUnicodeCategory(unit) is UnicodeCategory.ConnectorPunctuation or UnicodeCategory.NonSpacingMark
            or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark or UnicodeCategory.LetterNumber;
}
