namespace XDeepServe.Models.Text.Templates;

/// <summary><c>{% with a = b %}</c>: a scope of its own with some names set.</summary>
internal sealed class With(IReadOnlyList<(Target Target, Expression Value)> values, Statement body, Position at) : Statement(at)
{
    /// <inheritdoc/>
    public override Flow Run(Rendering rendering)
    {
        // All values are worked out before any name is set.
        var results = new object?[values.Count];
        for (var i = 0; i < results.Length; i++)
            results[i] = values[i].Value.Value(rendering);
        var outer = rendering.Scope;
        rendering.Scope = new(outer);
        try
        {
            for (var i = 0; i < results.Length; i++)
                values[i].Target.Assign(rendering, results[i]);
            return body.Run(rendering);
        }
        finally
        {
            rendering.Scope = outer;
        }
    }
}
