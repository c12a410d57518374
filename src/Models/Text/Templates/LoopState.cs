namespace XDeepServe.Models.Text.Templates;

/// <summary>What <c>loop</c> tells within a loop.</summary>
/// <param name="entries">What the loop goes through.</param>
/// <param name="depth">How often it has called itself.</param>
/// <param name="recurse">Runs the loop over other entries; null: it is not recursive.</param>
internal sealed class LoopState(IReadOnlyList<object?> entries, int depth, Func<Arguments, string>? recurse)
{
    private object? changed;
    private bool asked;

    /// <summary>The round, from 0.</summary>
    public int Index { get; set; }

    /// <summary>An attribute, null if there is no such.</summary>
    public object? Attribute(string name) => name switch
    {
        "index" => Index + 1L,
        "index0" => (long)Index,
        "revindex" => (long)entries.Count - Index,
        "revindex0" => entries.Count - Index - 1L,
        "first" => Index == 0,
        "last" => Index == entries.Count - 1,
        "length" => (long)entries.Count,
        "depth" => depth + 1L, // of recursion, not of nesting
        "depth0" => (long)depth,
        "previtem" => Neighbour(Index - 1),
        "nextitem" => Neighbour(Index + 1),
        "cycle" => (Function)((_, arguments) => arguments.Positional.Count > 0
            ? arguments.Positional[Index % arguments.Positional.Count]
            : throw arguments.At.Error("cycle needs arguments.")),
        "changed" => (Function)((_, arguments) => Changed(arguments)),
        _ => null,
    };

    /// <summary><c>loop(entries)</c>: runs a recursive loop over other entries.</summary>
    public string Recurse(Arguments arguments) =>
        recurse is not null ? recurse(arguments) : throw arguments.At.Error("the loop is not recursive.");

    private object? Neighbour(int index) =>
        index >= 0 && index < entries.Count ? entries[index] : new Undefined("there is no neighbouring entry.");

    private bool Changed(Arguments arguments)
    {
        var values = arguments.Positional.ToArray();
        var differs = !asked || !Values.Equals(arguments.Rendering, changed, values, arguments.At);
        (changed, asked) = (values, true);
        return differs;
    }
}
