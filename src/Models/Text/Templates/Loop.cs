namespace XDeepServe.Models.Text.Templates;

/// <summary><c>{% for target in values if condition recursive %}</c>; every round has a scope of its own.</summary>
internal sealed class Loop(
    Target target, Expression values, Expression? condition, bool recursive, Statement body, Statement? otherwise, Position at) : Statement(at)
{
    /// <inheritdoc/>
    public override Flow Run(Rendering rendering) => Run(rendering, values.Value(rendering), rendering.Scope, depth: 0);

    private Flow Run(Rendering rendering, object? value, Scope outer, int depth)
    {
        var entries = Values.Iterate(rendering, value, At);
        var around = rendering.Scope;
        rendering.Scope = new(outer);
        try
        {
            if (condition is not null)
                entries = Chosen(rendering, entries);
            var loop = new LoopState(entries, depth, recursive ? arguments => Recurse(arguments, outer, depth + 1) : null);
            for (; loop.Index < entries.Count; loop.Index++)
            {
                rendering.Scope.Clear();
                target.Assign(rendering, entries[loop.Index]);
                rendering.Scope.Set("loop", loop);
                if (body.Run(rendering) == Flow.Break)
                    break;
            }
            if (entries.Count > 0 || otherwise is null)
                return Flow.Next;
            rendering.Scope = outer;
            return otherwise.Run(rendering);
        }
        finally
        {
            rendering.Scope = around;
        }
    }

    private string Recurse(Arguments arguments, Scope outer, int depth)
    {
        arguments.Check("loop", 1, "iterable");
        arguments.Rendering.Step(arguments.At);
        return arguments.Rendering.Capture(() => Run(arguments.Rendering, arguments.Get(0, "iterable"), outer, depth));
    }

    private List<object?> Chosen(Rendering rendering, IReadOnlyList<object?> entries)
    {
        var chosen = new List<object?>();
        foreach (var entry in entries)
        {
            rendering.Scope.Clear();
            target.Assign(rendering, entry);
            if (Values.IsTrue(condition!.Value(rendering)))
                chosen.Add(entry);
        }
        return chosen;
    }
}
