namespace XDeepServe.Models.Text.Templates;

/// <summary><c>{% macro name(a, b=c) %}</c>: a function whose value is the text that its body puts out.</summary>
internal sealed class Macro(string name, IReadOnlyList<(string Name, Expression? Otherwise)> parameters, Statement body, Position at) : Statement(at)
{
    private readonly string[] names = [.. parameters.Select(parameter => parameter.Name)];

    /// <inheritdoc/>
    public override Flow Run(Rendering rendering)
    {
        var defined = rendering.Scope;
        defined.Set(name, (Function)((caller, arguments) => Invoke(caller, defined, arguments)));
        return Flow.Next;
    }

    private string Invoke(Rendering rendering, Scope defined, Arguments arguments)
    {
        rendering.Step(At);
        arguments.Check($"the macro '{name}'", parameters.Count, names);
        var outer = rendering.Scope;
        rendering.Scope = new(defined);
        try
        {
            for (var i = 0; i < parameters.Count; i++)
            {
                var (parameter, otherwise) = parameters[i];
                rendering.Scope.Set(parameter, arguments.TryGet(i, parameter, out var value) ? value
                    : otherwise is not null ? otherwise.Value(rendering)
                    : new Undefined($"the parameter '{parameter}' was not given."));
            }
            return rendering.Capture(body);
        }
        finally
        {
            rendering.Scope = outer;
        }
    }
}
