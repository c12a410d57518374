namespace XDeepServe.Models.Text.Templates;

/// <summary>
/// Cuts a template into tokens and settles white space on the way: a line break behind a block tag goes, so does
/// white space before a block tag that begins its line; <c>-</c> takes all white space on its side, <c>+</c> keeps it.
/// </summary>
internal sealed class Lexer
{
    private readonly string source;
    private readonly List<Token> tokens = [];
    private int index;
    private bool atLineStart = true; // the last tag took the line break behind it
    private int counted, line = 1, lineStart;

    /// <summary>Makes a lexer.</summary>
    /// <param name="source">The template.</param>
    public Lexer(string source)
    {
        this.source = source.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        if (this.source.EndsWith('\n'))
            this.source = this.source[..^1];
    }

    /// <summary>All tokens; the last is the end.</summary>
    public List<Token> Read()
    {
        while (index < source.Length)
        {
            var tag = NextTag();
            ReadText(tag);
            if (tag == source.Length)
                break;
            index = tag;
            var at = At(tag);
            var begin = source[tag + 1];
            index += 2;
            if (Peek is '-' or '+')
                index++;
            if (begin == '#')
                SkipComment(at);
            else if (begin != '%' || !TryReadRaw(at))
                ReadTag(at, begin == '{');
        }
        tokens.Add(new(TokenKind.End, "", At(source.Length)));
        return tokens;
    }

    private char Peek => index < source.Length ? source[index] : '\0';

    private int NextTag()
    {
        for (var at = index; ; at++)
        {
            at = source.IndexOf('{', at);
            if (at < 0 || at + 1 >= source.Length)
                return source.Length;
            if (source[at + 1] is '{' or '%' or '#')
                return at;
        }
    }

    private void ReadText(int end) => AddText(source.AsSpan(index, end - index), index, end);

    /// <summary>Adds text that ends where a tag begins (or the template ends).</summary>
    private void AddText(ReadOnlySpan<char> text, int start, int tag)
    {
        var sign = tag + 2 < source.Length ? source[tag + 2] : '\0';
        if (tag < source.Length && sign == '-')
        {
            text = PythonText.TrimEnd(text);
        }
        else if (tag < source.Length && sign != '+' && source[tag + 1] != '{')
        {
            var lineAt = text.LastIndexOf('\n') + 1;
            if ((lineAt > 0 || atLineStart) && PythonText.TrimEnd(text[lineAt..]).IsEmpty)
                text = text[..lineAt];
        }
        if (!text.IsEmpty)
            tokens.Add(new(TokenKind.Text, text.ToString(), At(start)));
    }

    /// <summary>Goes past what a tag's end takes with it.</summary>
    /// <param name="sign">- + or none, before the end.</param>
    /// <param name="block">Whether the tag takes a line break by itself.</param>
    private void EndTag(char sign, bool block)
    {
        var start = index;
        if (sign == '-')
            while (index < source.Length && PythonText.IsSpace(source[index]))
                index++;
        else if (block && sign != '+' && Peek == '\n')
            index++;
        atLineStart = index > start && source[index - 1] == '\n';
    }

    private void SkipComment(Position at)
    {
        var end = source.IndexOf("#}", index, StringComparison.Ordinal);
        if (end < 0)
            throw at.Error("the comment is not closed with '#}'.");
        var sign = end > index ? source[end - 1] : '\0';
        index = end + 2;
        EndTag(sign, block: true);
    }

    /// <summary>Reads a raw block, if one begins behind the tag's opening.</summary>
    private bool TryReadRaw(Position at)
    {
        var start = index;
        if (!SkipWord("raw", out var sign))
        {
            index = start;
            return false;
        }
        EndTag(sign, block: false);
        var text = index;
        for (var from = text; ; from += 2)
        {
            from = source.IndexOf("{%", from, StringComparison.Ordinal);
            if (from < 0)
                throw at.Error("the raw block is not closed with '{% endraw %}'.");
            index = from + 2;
            if (Peek is '-' or '+')
                index++;
            if (!SkipWord("endraw", out sign))
                continue;
            AddText(source.AsSpan(text, from - text), text, from);
            EndTag(sign, block: true);
            return true;
        }
    }

    /// <summary>Goes past a word and the end of its block.</summary>
    private bool SkipWord(string word, out char sign)
    {
        sign = '\0';
        SkipSpace();
        if (string.CompareOrdinal(source, index, word, 0, word.Length) != 0)
            return false;
        index += word.Length;
        SkipSpace();
        if (Peek is '-' or '+')
            sign = source[index++];
        if (string.CompareOrdinal(source, index, "%}", 0, 2) != 0)
            return false;
        index += 2;
        return true;
    }

    private void ReadTag(Position at, bool output)
    {
        tokens.Add(new(output ? TokenKind.OutputBegin : TokenKind.BlockBegin, output ? "{{" : "{%", at));
        var end = output ? "}}" : "%}";
        var words = new WordLexer(source, At);
        var open = 0; // brackets: the end of a tag is not looked for within them
        while (true)
        {
            SkipSpace();
            if (index >= source.Length)
                throw at.Error($"the tag is not closed with '{end}'.");
            var signed = Peek == '-' || (Peek == '+' && !output) ? 1 : 0;
            if (open == 0 && string.CompareOrdinal(source, index + signed, end, 0, 2) == 0)
            {
                tokens.Add(new(output ? TokenKind.OutputEnd : TokenKind.BlockEnd, end, At(index)));
                var sign = signed == 1 ? source[index] : '\0';
                index += signed + 2;
                EndTag(sign, block: !output);
                return;
            }
            var token = words.Read(ref index);
            if (token.Kind == TokenKind.Operator)
                open += token.Text is "(" or "[" or "{" ? 1 : token.Text is ")" or "]" or "}" && open > 0 ? -1 : 0;
            tokens.Add(token);
        }
    }

    private void SkipSpace()
    {
        while (index < source.Length && PythonText.IsSpace(source[index]))
            index++;
    }

    /// <summary>Where an index lies; indices asked for only grow.</summary>
    private Position At(int place)
    {
        if (place < counted)
            (counted, line, lineStart) = (0, 1, 0);
        for (; counted < place; counted++)
            if (source[counted] == '\n')
                (line, lineStart) = (line + 1, counted + 1);
        return new(line, place - lineStart + 1);
    }
}
