namespace XDeepServe.Models.Text.Templates;

/// <summary>An object whose attributes a template may set from within loops.</summary>
internal sealed class Namespace
{
    /// <summary>The attributes.</summary>
    public Dictionary<string, object?> Attributes { get; } = new(StringComparer.Ordinal);
}
