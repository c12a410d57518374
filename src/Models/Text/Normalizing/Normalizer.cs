namespace XDeepServe.Models.Text.Normalizing;

/// <summary>Rewrites text before it is split. Any thread may use it.</summary>
internal abstract class Normalizer
{
    /// <summary>The text rewritten; the same string if nothing changes.</summary>
    /// <param name="text">Text without lone surrogates.</param>
    public abstract string Normalize(string text);
}
