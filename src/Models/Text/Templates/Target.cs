namespace XDeepServe.Models.Text.Templates;

/// <summary>What a value is assigned to.</summary>
/// <param name="at">Where it stands.</param>
internal abstract class Target(Position at)
{
    /// <summary>Where it stands.</summary>
    public Position At { get; } = at;

    /// <summary>Assigns a value.</summary>
    public abstract void Assign(Rendering rendering, object? value);
}

/// <summary>A name.</summary>
internal sealed class NameTarget(string name, Position at) : Target(at)
{
    /// <inheritdoc/>
    public override void Assign(Rendering rendering, object? value) => rendering.Scope.Set(name, value);
}

/// <summary>An attribute of a namespace.</summary>
internal sealed class AttributeTarget(string name, string attribute, Position at) : Target(at)
{
    /// <inheritdoc/>
    public override void Assign(Rendering rendering, object? value)
    {
        if (!rendering.Scope.TryGet(name, out var holder) || holder is not Namespace space)
            throw At.Error($"attributes can be set on a namespace only; '{name}' is none.");
        space.Attributes[attribute] = value;
    }
}

/// <summary>Several targets that share the entries of a list.</summary>
internal sealed class TupleTarget(IReadOnlyList<Target> targets, Position at) : Target(at)
{
    /// <inheritdoc/>
    public override void Assign(Rendering rendering, object? value)
    {
        if (value is Undefined undefined)
            throw At.Error(undefined.Reason);
        var values = Values.Iterate(rendering, value, At);
        if (values.Count != targets.Count)
            throw At.Error($"{values.Count} values cannot be shared among {targets.Count} names.");
        for (var i = 0; i < values.Count; i++)
            targets[i].Assign(rendering, values[i]);
    }
}
