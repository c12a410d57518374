namespace XDeepServe.Models.Text.Templates;

/// <summary>How a statement leaves the loop around it.</summary>
internal enum Flow
{
    /// <summary>Not at all.</summary>
    Next,
    /// <summary>To the next round.</summary>
    Continue,
    /// <summary>For good.</summary>
    Break,
}

/// <summary>A part of a template that does something.</summary>
/// <param name="at">Where it stands.</param>
internal abstract class Statement(Position at)
{
    /// <summary>Where it stands.</summary>
    public Position At { get; } = at;

    /// <summary>Does it.</summary>
    public abstract Flow Run(Rendering rendering);
}

/// <summary>Statements one after another.</summary>
internal sealed class Sequence(IReadOnlyList<Statement> statements, Position at) : Statement(at)
{
    /// <inheritdoc/>
    public override Flow Run(Rendering rendering)
    {
        foreach (var statement in statements)
        {
            rendering.Step(statement.At);
            if (statement.Run(rendering) is not Flow.Next and var flow)
                return flow;
        }
        return Flow.Next;
    }
}

/// <summary>Text put out as it is.</summary>
internal sealed class Verbatim(string text, Position at) : Statement(at)
{
    /// <inheritdoc/>
    public override Flow Run(Rendering rendering)
    {
        rendering.Write(text, At);
        return Flow.Next;
    }
}

/// <summary><c>{{ a }}</c></summary>
internal sealed class Print(Expression value, Position at) : Statement(at)
{
    /// <inheritdoc/>
    public override Flow Run(Rendering rendering)
    {
        rendering.Write(value.Text(rendering), At);
        return Flow.Next;
    }
}

/// <summary><c>{% if %}</c>, <c>{% elif %}</c>, <c>{% else %}</c></summary>
internal sealed class Branch(IReadOnlyList<(Expression Condition, Statement Body)> cases, Statement? otherwise, Position at) : Statement(at)
{
    /// <inheritdoc/>
    public override Flow Run(Rendering rendering)
    {
        foreach (var (condition, body) in cases)
            if (Values.IsTrue(condition.Value(rendering)))
                return body.Run(rendering);
        return otherwise?.Run(rendering) ?? Flow.Next;
    }
}

/// <summary><c>{% break %}</c>, <c>{% continue %}</c></summary>
internal sealed class Leave(Flow flow, Position at) : Statement(at)
{
    /// <inheritdoc/>
    public override Flow Run(Rendering rendering) => flow;
}

/// <summary><c>{% set target = value %}</c></summary>
internal sealed class Assignment(Target target, Expression value, Position at) : Statement(at)
{
    /// <inheritdoc/>
    public override Flow Run(Rendering rendering)
    {
        target.Assign(rendering, value.Value(rendering));
        return Flow.Next;
    }
}
