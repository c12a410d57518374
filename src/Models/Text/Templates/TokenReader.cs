using System.Runtime.CompilerServices;

namespace XDeepServe.Models.Text.Templates;

/// <summary>Walks over the tokens of a template.</summary>
/// <param name="tokens">The tokens; the last is the end.</param>
internal sealed class TokenReader(IReadOnlyList<Token> tokens)
{
    private int place;

    /// <summary>The token at hand.</summary>
    public Token Current => tokens[place];

    /// <summary>The token behind it.</summary>
    public Token Following => tokens[Math.Min(place + 1, tokens.Count - 1)];

    /// <summary>Goes on by one token.</summary>
    /// <returns>The token left behind.</returns>
    public Token Next()
    {
        var token = Current;
        if (place + 1 < tokens.Count)
            place++;
        return token;
    }

    /// <summary>Goes past an operator or word if it is at hand.</summary>
    public bool Skip(string text)
    {
        if (!Current.Is(text))
            return false;
        Next();
        return true;
    }

    /// <summary>Goes past an operator or word that must be at hand.</summary>
    public Token Expect(string text) => Current.Is(text) ? Next() : throw Current.At.Error($"expected '{text}', found {Current}.");

    /// <summary>Goes past a token of a kind that must be at hand.</summary>
    /// <param name="kind">The kind.</param>
    /// <param name="what">How an error calls it.</param>
    public Token Expect(TokenKind kind, string what) => Current.Kind == kind ? Next() : throw Current.At.Error($"expected {what}, found {Current}.");

    /// <summary>Refuses nesting that would exhaust the stack.</summary>
    public void GuardDepth()
    {
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack())
            throw Current.At.Error("the template is nested too deeply.");
    }
}
