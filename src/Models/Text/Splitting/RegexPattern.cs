using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace XDeepServe.Models.Text.Splitting;

/// <summary>
/// A regular expression for which there is no hand-written pattern. .NET matches UTF-16 units, so characters beyond
/// U+FFFF are first replaced by one stand-in of the same category each; a pattern that names such characters
/// is refused. Possessive quantifiers, which .NET lacks, become atomic groups.
/// </summary>
internal sealed class RegexPattern : Pattern
{
    /// <summary>One character per <see cref="UnicodeCategory"/> for those beyond U+FFFF, of rare scripts.</summary>
    private const string StandIns = "\u10A0\u0560\u1F88\u1C78\uA00A\u1B34\u1B04\u20DD\uA8D0\u2188\u0F33\u2000\u2028\u2029\u0001\u2060\uD800\uE000\u203F\u2E17\u2045\u2046\u2E02\u2E03\u1360\u2200\u20B7\uA708\u2800\uFFFE";

    private readonly Regex regex;

    /// <summary>Makes the pattern.</summary>
    /// <param name="source">A regular expression as Hugging Face tokenizers write it.</param>
    public RegexPattern(string source)
    {
        if (source.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF') >= 0 || source.Contains(@"\x{", StringComparison.Ordinal))
            throw new TokenizerException($"The splitting pattern {source} names characters beyond U+FFFF, which is not supported.");
        try
        {
            // Multiline: the reference's engine lets ^ and $ match at every line.
            regex = new Regex(Translate(source), RegexOptions.CultureInvariant | RegexOptions.Multiline, TimeSpan.FromSeconds(10));
        }
        catch (ArgumentException error)
        {
            throw new TokenizerException($"The splitting pattern {source} is not supported: {error.Message}", error);
        }
    }

    /// <inheritdoc/>
    public override void Match(ReadOnlySpan<char> text, PieceList matches)
    {
        try
        {
            Find(text, matches);
        }
        catch (RegexMatchTimeoutException error)
        {
            throw new TokenizerException($"The splitting pattern {regex} takes too long on this text.", error);
        }
    }

    private void Find(ReadOnlySpan<char> text, PieceList matches)
    {
        if (text.IndexOfAnyInRange('\uD800', '\uDFFF') < 0)
        {
            foreach (var match in regex.EnumerateMatches(text))
                matches.Add(match.Index, match.Length);
            return;
        }
        var shadow = new char[text.Length];
        var places = new int[text.Length + 1]; // shadow index -> text index
        var count = 0;
        for (var index = 0; index < text.Length; count++)
        {
            places[count] = index;
            if (char.IsHighSurrogate(text[index]) && index + 1 < text.Length)
            {
                shadow[count] = StandIns[(int)CharUnicodeInfo.GetUnicodeCategory(char.ConvertToUtf32(text[index], text[index + 1]))];
                index += 2;
            }
            else
            {
                shadow[count] = text[index++];
            }
        }
        places[count] = text.Length;
        foreach (var match in regex.EnumerateMatches(shadow.AsSpan(0, count)))
            matches.Add(places[match.Index], places[match.Index + match.Length] - places[match.Index]);
    }

    /// <summary>Rewrites <c>x++ x*+ x?+</c> as <c>(?&gt;x+)</c> and so on; leaves the rest as it is.</summary>
    internal static string Translate(string source)
    {
        var result = new StringBuilder(source.Length);
        var groups = new Stack<int>(); // where the open groups begin in the result
        var atom = 0;                  // where the last whole atom begins in the result
        for (var i = 0; i < source.Length; i++)
        {
            var c = source[i];
            switch (c)
            {
                case '(':
                    groups.Push(result.Length);
                    result.Append(c);
                    break;
                case ')':
                    atom = groups.Count > 0 ? groups.Pop() : result.Length;
                    result.Append(c);
                    break;
                case '[':
                    atom = result.Length;
                    i = CopyClass(source, i, result);
                    break;
                case '\\' when i + 1 < source.Length:
                    atom = result.Length;
                    result.Append(c).Append(source[++i]);
                    if (source[i] is 'p' or 'P' && i + 1 < source.Length && source[i + 1] == '{')
                        while (++i < source.Length && result.Append(source[i])[^1] != '}') ;
                    break;
                case '+' or '*' or '?':
                    result.Append(c);
                    if (i + 1 < source.Length && source[i + 1] == '+' && (i == 0 || source[i - 1] is not '(' || c != '?'))
                    {
                        i++;
                        result.Insert(atom, "(?>").Append(')');
                    }
                    break;
                case '{':
                    while (i < source.Length && result.Append(source[i])[^1] != '}')
                        i++;
                    break;
                default:
                    atom = result.Length;
                    result.Append(c);
                    break;
            }
        }
        return result.ToString();
    }

    private static int CopyClass(string source, int start, StringBuilder result)
    {
        var i = start;
        result.Append(source[i++]);
        while (i < source.Length && source[i] != ']')
        {
            if (source[i] == '\\' && i + 1 < source.Length)
                result.Append(source[i++]);
            else if (source[i] == '[' || (source[i] == '&' && source[i - 1] == '&'))
                throw new TokenizerException($"The splitting pattern {source} has a class within a class, which is not supported.");
            result.Append(source[i++]);
        }
        if (i < source.Length)
            result.Append(source[i]);
        return i;
    }
}
