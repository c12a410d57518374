namespace XDeepServe.Models.Text.Templates;

/// <summary>What <c>loop</c> tells within a loop.</summary>
/// <param name="entries">What the loop goes through.</param>
internal sealed class LoopState(IReadOnlyList<object?> entries)
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
        "depth" => 1L, // of recursion, not of nesting
        "depth0" => 0L,
        "previtem" => Neighbour(Index - 1),
        "nextitem" => Neighbour(Index + 1),
        "cycle" => (Function)((_, arguments) => arguments.Positional.Count > 0
            ? arguments.Positional[Index % arguments.Positional.Count]
            : throw arguments.At.Error("cycle needs arguments.")),
        "changed" => (Function)((_, arguments) => Changed(arguments.Positional.ToArray())),
        _ => null,
    };

    private object? Neighbour(int index) =>
        index >= 0 && index < entries.Count ? entries[index] : new Undefined("there is no neighbouring entry.");

    private bool Changed(object?[] values)
    {
        var differs = !asked || !Values.Equals(changed, values);
        (changed, asked) = (values, true);
        return differs;
    }
}
