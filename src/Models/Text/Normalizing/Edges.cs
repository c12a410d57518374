namespace XDeepServe.Models.Text.Normalizing;

/// <summary>Puts something before a text, unless it is empty.</summary>
/// <param name="prefix">What.</param>
internal sealed class Prepend(string prefix) : Normalizer
{
    /// <inheritdoc/>
    public override string Normalize(string text) => text.Length == 0 ? text : prefix + text;
}

/// <summary>Takes white space from the ends of a text.</summary>
/// <param name="left">Whether at the start.</param>
/// <param name="right">Whether at the end.</param>
internal sealed class Strip(bool left, bool right) : Normalizer
{
    /// <inheritdoc/>
    public override string Normalize(string text)
    {
        var kept = text.AsSpan();
        if (left)
            kept = kept.TrimStart();
        if (right)
            kept = kept.TrimEnd();
        return kept.Length == text.Length ? text : kept.ToString();
    }
}
