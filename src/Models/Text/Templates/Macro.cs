namespace XDeepServe.Models.Text.Templates;

/// <summary>A macro as the template writes it.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Parameters">Its parameters and what they are unless given.</param>
/// <param name="Body">What it puts out.</param>
/// <param name="At">Where it stands.</param>
/// <param name="TakesMore">Whether it takes more arguments than parameters, as <c>varargs</c>.</param>
/// <param name="TakesNamed">Whether it takes arguments of other names, as <c>kwargs</c>.</param>
/// <param name="TakesCaller">Whether a call block may call it.</param>
internal sealed record MacroBody(
    string Name, IReadOnlyList<(string Name, Expression? Otherwise)> Parameters, Statement Body, Position At, bool TakesMore, bool TakesNamed, bool TakesCaller);

/// <summary><c>{% macro name(a, b=c) %}</c>: sets a name to a macro.</summary>
internal sealed class Macro(MacroBody macro, Position at) : Statement(at)
{
    /// <inheritdoc/>
    public override Flow Run(Rendering rendering)
    {
        rendering.Scope.Set(macro.Name, new MacroValue(macro, rendering.Scope));
        return Flow.Next;
    }
}

/// <summary><c>{% call(a) macro(b) %}</c>: calls a macro that can put out this block by calling <c>caller</c>.</summary>
internal sealed class CallBlock(Call call, MacroBody block, Position at) : Statement(at)
{
    /// <inheritdoc/>
    public override Flow Run(Rendering rendering)
    {
        rendering.Write(Printing.ToText(call.Invoke(rendering, new MacroValue(block, rendering.Scope)), At), At);
        return Flow.Next;
    }
}

/// <summary>A macro and the scope it was defined in: a function whose value is the text that its body puts out.</summary>
internal sealed class MacroValue(MacroBody macro, Scope defined)
{
    /// <summary>An attribute, null if there is no such.</summary>
    public object? Attribute(string name) => name switch
    {
        "name" => macro.Name,
        "arguments" => macro.Parameters.Select(parameter => (object?)parameter.Name).ToArray(),
        "catch_varargs" => macro.TakesMore,
        "catch_kwargs" => macro.TakesNamed,
        "caller" => macro.TakesCaller,
        _ => null,
    };

    /// <summary>Calls it.</summary>
    /// <param name="arguments">The arguments.</param>
    /// <param name="caller">The block of a call block.</param>
    public string Invoke(Arguments arguments, MacroValue? caller)
    {
        var rendering = arguments.Rendering;
        rendering.Step(arguments.At);
        if (caller is not null && !macro.TakesCaller)
            throw arguments.At.Error($"the macro '{macro.Name}' does not call its caller.");
        var parameters = macro.Parameters;
        var others = arguments.Named.Where(named => !parameters.Any(parameter => parameter.Name == named.Key)).ToList();
        if (!macro.TakesMore && arguments.Positional.Count > parameters.Count)
            throw arguments.At.Error($"the macro '{macro.Name}' takes at most {parameters.Count} arguments, not {arguments.Positional.Count}.");
        if (!macro.TakesNamed && others.Count > 0)
            throw arguments.At.Error($"the macro '{macro.Name}' has no argument '{others[0].Key}'.");
        var outer = rendering.Scope;
        rendering.Scope = new(defined);
        try
        {
            if (macro.TakesCaller)
                rendering.Scope.Set("caller", caller ?? (object)new Undefined("there is no block to call."));
            if (macro.TakesMore)
                rendering.Scope.Set("varargs", arguments.Positional.Skip(parameters.Count).ToArray());
            if (macro.TakesNamed)
                rendering.Scope.Set("kwargs", new OrderedDictionary<string, object?>(others, StringComparer.Ordinal));
            for (var i = 0; i < parameters.Count; i++)
            {
                var (parameter, otherwise) = parameters[i];
                rendering.Scope.Set(parameter, arguments.TryGet(i, parameter, out var value) ? value
                    : otherwise is not null ? otherwise.Value(rendering)
                    : new Undefined($"the parameter '{parameter}' was not given."));
            }
            return rendering.Capture(macro.Body);
        }
        finally
        {
            rendering.Scope = outer;
        }
    }
}
