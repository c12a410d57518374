namespace XDeepServe.Models.Text.Templates;

/// <summary>An operator between two numbers, texts or lists.</summary>
internal sealed class Operation(string symbol, Expression left, Expression right, Position at) : Expression(at)
{
    /// <inheritdoc/>
    protected override object? Evaluate(Rendering rendering) =>
        Arithmetic.Apply(rendering, symbol, left.Value(rendering), right.Value(rendering), At);
}

/// <summary>A sign before a number.</summary>
internal sealed class Sign(bool negative, Expression operand, Position at) : Expression(at)
{
    /// <inheritdoc/>
    protected override object? Evaluate(Rendering rendering) => operand.Value(rendering) switch
    {
        double number => (object)(negative ? -number : number),
        var value when Values.IsInteger(value, out var number) => negative ? unchecked(-number) : number,
        Undefined undefined => throw At.Error(undefined.Reason),
        var value => throw At.Error($"a sign does not work on {Values.TypeName(value)}."),
    };
}

/// <summary><c>a ~ b</c>: both put out one behind the other.</summary>
internal sealed class Concatenation(Expression left, Expression right, Position at) : Expression(at)
{
    /// <inheritdoc/>
    protected override object? Evaluate(Rendering rendering)
    {
        var (first, second) = (left.Text(rendering), right.Text(rendering));
        rendering.ChargeText((long)first.Length + second.Length, At);
        return first + second;
    }
}

/// <summary><c>a and b</c>, <c>a or b</c>: the operand that decides.</summary>
internal sealed class Junction(bool and, Expression left, Expression right, Position at) : Expression(at)
{
    /// <inheritdoc/>
    protected override object? Evaluate(Rendering rendering)
    {
        var first = left.Value(rendering);
        return Values.IsTrue(first) == and ? right.Value(rendering) : first;
    }
}

/// <summary><c>not a</c></summary>
internal sealed class Negation(Expression operand, Position at) : Expression(at)
{
    /// <inheritdoc/>
    protected override object? Evaluate(Rendering rendering) => !Values.IsTrue(operand.Value(rendering));
}

/// <summary>Comparisons, each of neighbours: <c>a &lt; b &lt;= c</c>.</summary>
internal sealed class Comparison(Expression first, IReadOnlyList<(string Symbol, Expression Operand)> rest, Position at) : Expression(at)
{
    /// <inheritdoc/>
    protected override object? Evaluate(Rendering rendering)
    {
        var left = first.Value(rendering);
        foreach (var (symbol, operand) in rest)
        {
            var right = operand.Value(rendering);
            if (!Holds(rendering, symbol, left, right))
                return false;
            left = right;
        }
        return true;
    }

    private bool Holds(Rendering rendering, string symbol, object? left, object? right)
    {
        switch (symbol)
        {
            case "==": return Values.Equals(rendering, left, right, At);
            case "!=": return !Values.Equals(rendering, left, right, At);
            case "in": return Values.Contains(rendering, right, left, At);
            case "not in": return !Values.Contains(rendering, right, left, At);
        }
        if ((left as Undefined ?? right as Undefined) is { } undefined)
            throw At.Error(undefined.Reason);
        var order = Values.Compare(rendering, left, right, At);
        return symbol switch { "<" => order < 0, "<=" => order <= 0, ">" => order > 0, _ => order >= 0 };
    }
}
