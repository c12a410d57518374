namespace XDeepServe.Models.Text.Templates;

/// <summary>Names and their values; what a scope does not hold is looked for in the one around it.</summary>
/// <param name="outer">The scope around it, null for the outermost.</param>
internal sealed class Scope(Scope? outer)
{
    private readonly Dictionary<string, object?> values = new(StringComparer.Ordinal);

    /// <summary>Sets a name here.</summary>
    public void Set(string name, object? value) => values[name] = value;

    /// <summary>Forgets all names set here.</summary>
    public void Clear() => values.Clear();

    /// <summary>Looks a name up, here and outwards.</summary>
    public bool TryGet(string name, out object? value)
    {
        for (var scope = this; scope is not null; scope = scope.Outer)
            if (scope.values.TryGetValue(name, out value))
                return true;
        value = null;
        return false;
    }

    private Scope? Outer { get; } = outer;
}
