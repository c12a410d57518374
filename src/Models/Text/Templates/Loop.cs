namespace XDeepServe.Models.Text.Templates;

/// <summary><c>{% for target in values if condition %}</c>; every round has a scope of its own.</summary>
internal sealed class Loop(Target target, Expression values, Expression? condition, Statement body, Statement? otherwise, Position at) : Statement(at)
{
    /// <inheritdoc/>
    public override Flow Run(Rendering rendering)
    {
        var entries = Values.Iterate(values.Value(rendering), At);
        rendering.ChargeList(entries.Count, At);
        var outer = rendering.Scope;
        rendering.Scope = new(outer);
        try
        {
            if (condition is not null)
                entries = Chosen(rendering, entries);
            var loop = new LoopState(entries);
            for (; loop.Index < entries.Count; loop.Index++)
            {
                rendering.Scope.Clear();
                target.Assign(rendering, entries[loop.Index]);
                rendering.Scope.Set("loop", loop);
                if (body.Run(rendering) == Flow.Break)
                    break;
            }
        }
        finally
        {
            rendering.Scope = outer;
        }
        return entries.Count == 0 && otherwise is not null ? otherwise.Run(rendering) : Flow.Next;
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
