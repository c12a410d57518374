namespace XDeepServe.Models.Text.Templates;

/// <summary>What a token of a template is.</summary>
internal enum TokenKind
{
    /// <summary>Text to be put out as it is.</summary>
    Text,
    /// <summary><c>{{</c></summary>
    OutputBegin,
    /// <summary><c>}}</c></summary>
    OutputEnd,
    /// <summary><c>{%</c></summary>
    BlockBegin,
    /// <summary><c>%}</c></summary>
    BlockEnd,
    /// <summary>A name or a word of the language.</summary>
    Name,
    /// <summary>A string, without quotes and escapes.</summary>
    String,
    /// <summary>A whole number.</summary>
    Integer,
    /// <summary>A number with a point or an exponent.</summary>
    Float,
    /// <summary>An operator or a bracket.</summary>
    Operator,
    /// <summary>The end of the template.</summary>
    End,
}

/// <summary>A piece of a template.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Text">Its text.</param>
/// <param name="At">Where it begins.</param>
internal readonly record struct Token(TokenKind Kind, string Text, Position At)
{
    /// <summary>Whether it is this operator or word.</summary>
    public bool Is(string text) => Kind is TokenKind.Operator or TokenKind.Name && Text == text;

    /// <inheritdoc/>
    public override string ToString() => Kind switch
    {
        TokenKind.End => "the end of the template",
        TokenKind.Text => "text",
        TokenKind.String => "a string",
        _ => $"'{Text}'",
    };
}
