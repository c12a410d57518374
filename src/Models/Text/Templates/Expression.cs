namespace XDeepServe.Models.Text.Templates;

/// <summary>A part of a template that has a value.</summary>
/// <param name="at">Where it stands.</param>
internal abstract class Expression(Position at)
{
    /// <summary>Where it stands.</summary>
    public Position At { get; } = at;

    /// <summary>Its value.</summary>
    public object? Value(Rendering rendering)
    {
        rendering.Step(At);
        return Evaluate(rendering);
    }

    /// <summary>Its value, counted as text.</summary>
    public string Text(Rendering rendering) => Printing.ToText(Value(rendering), At);

    /// <summary>Works the value out.</summary>
    protected abstract object? Evaluate(Rendering rendering);
}

/// <summary>A value written in the template.</summary>
internal sealed class Constant(object? value, Position at) : Expression(at)
{
    /// <inheritdoc/>
    protected override object? Evaluate(Rendering rendering) => value;
}

/// <summary>The value of a name.</summary>
internal sealed class Variable(string name, Position at) : Expression(at)
{
    /// <summary>The name.</summary>
    public string Name { get; } = name;

    /// <inheritdoc/>
    protected override object? Evaluate(Rendering rendering)
    {
        if (rendering.Scope.TryGet(Name, out var value))
            return value;
        return Globals.Find(Name) is { } function ? function : new Undefined($"'{Name}' is undefined.");
    }
}

/// <summary>A list or a tuple written in the template.</summary>
internal sealed class Listing(IReadOnlyList<Expression> items, bool tuple, Position at) : Expression(at)
{
    /// <summary>The entries.</summary>
    public IReadOnlyList<Expression> Items => items;

    /// <inheritdoc/>
    protected override object? Evaluate(Rendering rendering)
    {
        var values = new List<object?>(items.Count);
        foreach (var item in items)
            values.Add(item.Value(rendering));
        return tuple ? values.ToArray() : values;
    }
}

/// <summary>A mapping written in the template.</summary>
internal sealed class MappingLiteral(IReadOnlyList<(Expression Key, Expression Value)> entries, Position at) : Expression(at)
{
    /// <inheritdoc/>
    protected override object? Evaluate(Rendering rendering)
    {
        var mapping = new OrderedDictionary<string, object?>(StringComparer.Ordinal);
        foreach (var (key, value) in entries)
            mapping[key.Value(rendering) as string ?? throw key.At.Error("the keys of a mapping must be strings.")] = value.Value(rendering);
        return mapping;
    }
}

/// <summary><c>a if b else c</c>; undefined if there is no else and it does not hold.</summary>
internal sealed class Choice(Expression condition, Expression then, Expression? otherwise, Position at) : Expression(at)
{
    /// <inheritdoc/>
    protected override object? Evaluate(Rendering rendering)
    {
        if (Values.IsTrue(condition.Value(rendering)))
            return then.Value(rendering);
        return otherwise is null ? new Undefined("the condition does not hold and there is no else.") : otherwise.Value(rendering);
    }
}
