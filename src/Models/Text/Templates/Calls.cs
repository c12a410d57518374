namespace XDeepServe.Models.Text.Templates;

/// <summary>The arguments of a call as the template writes them.</summary>
/// <param name="Positional">Those without a name.</param>
/// <param name="Named">Those with one.</param>
internal sealed record ArgumentList(IReadOnlyList<Expression> Positional, IReadOnlyList<(string Name, Expression Value)> Named)
{
    /// <summary>No arguments.</summary>
    public static readonly ArgumentList None = new([], []);

    /// <summary>Works the arguments out.</summary>
    public Arguments Evaluate(Rendering rendering, Position at)
    {
        var positional = new object?[Positional.Count];
        for (var i = 0; i < positional.Length; i++)
            positional[i] = Positional[i].Value(rendering);
        var named = new Dictionary<string, object?>(Named.Count, StringComparer.Ordinal);
        foreach (var (name, value) in Named)
            named[name] = value.Value(rendering);
        return new(positional, named, rendering, at);
    }
}

/// <summary><c>f(a, name=b)</c></summary>
internal sealed class Call(Expression target, ArgumentList arguments, Position at) : Expression(at)
{
    /// <inheritdoc/>
    protected override object? Evaluate(Rendering rendering) => Invoke(rendering, caller: null);

    /// <summary>Calls.</summary>
    /// <param name="rendering">The run.</param>
    /// <param name="caller">What a macro knows as <c>caller</c>; null: nothing.</param>
    public object? Invoke(Rendering rendering, MacroValue? caller) => target.Value(rendering) switch
    {
        Function function => function(rendering, arguments.Evaluate(rendering, At)),
        MacroValue macro => macro.Invoke(arguments.Evaluate(rendering, At), caller),
        LoopState loop => loop.Recurse(arguments.Evaluate(rendering, At)),
        Undefined undefined => throw At.Error(undefined.Reason),
        var value => throw At.Error($"{Values.TypeName(value)} cannot be called."),
    };
}

/// <summary><c>a | filter(b)</c></summary>
internal sealed class FilterCall(Expression target, Filter filter, ArgumentList arguments, Position at) : Expression(at)
{
    /// <inheritdoc/>
    protected override object? Evaluate(Rendering rendering) =>
        filter(rendering, target.Value(rendering), arguments.Evaluate(rendering, At));
}

/// <summary><c>a is test(b)</c>, <c>a is not test</c></summary>
internal sealed class TestCall(Expression target, Test test, ArgumentList arguments, bool negated, Position at) : Expression(at)
{
    /// <inheritdoc/>
    protected override object? Evaluate(Rendering rendering) =>
        test(target.Value(rendering), arguments.Evaluate(rendering, At)) != negated;
}

/// <summary>The text of a block that a filter stands over.</summary>
internal sealed class Captured(Statement body, Position at) : Expression(at)
{
    /// <inheritdoc/>
    protected override object? Evaluate(Rendering rendering)
    {
        var outer = rendering.Scope;
        rendering.Scope = new(outer);
        try
        {
            return rendering.Capture(body);
        }
        finally
        {
            rendering.Scope = outer;
        }
    }
}
