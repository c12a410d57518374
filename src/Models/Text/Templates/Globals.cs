namespace XDeepServe.Models.Text.Templates;

/// <summary>The functions that every template may call.</summary>
internal static class Globals
{
    private const int LongestRange = 100_000;

    /// <summary>A function, null if there is none of this name.</summary>
    public static Function? Find(string name) => name switch
    {
        "namespace" => MakeNamespace,
        "dict" => (_, arguments) => Merge(arguments),
        "range" => Range,
        "raise_exception" => (_, arguments) => throw new TemplateException(
            arguments.Text(0, "message"), arguments.At.Line, arguments.At.Column, raised: true),
        "strftime_now" => (rendering, arguments) => DateFormat.Write(rendering.Clock.GetLocalNow(), arguments.Text(0, "format"), arguments.At),
        _ => null,
    };

    private static Namespace MakeNamespace(Rendering rendering, Arguments arguments)
    {
        var space = new Namespace();
        foreach (var (key, value) in Merge(arguments))
            space.Attributes[key] = value;
        return space;
    }

    /// <summary>What <c>dict(mapping, name=value)</c> makes.</summary>
    private static OrderedDictionary<string, object?> Merge(Arguments arguments)
    {
        var result = new OrderedDictionary<string, object?>(StringComparer.Ordinal);
        if (arguments.Positional.Count > 1)
            throw arguments.At.Error("at most one argument without a name is allowed.");
        if (arguments.Positional.Count == 1)
        {
            var source = arguments.Positional[0] as OrderedDictionary<string, object?> ?? throw arguments.At.Error("a mapping is needed.");
            arguments.Rendering.ChargeList(source.Count, arguments.At);
            foreach (var (key, value) in source)
                result[key] = value;
        }
        foreach (var (key, value) in arguments.Named)
            result[key] = value;
        return result;
    }

    private static RangeValue Range(Rendering rendering, Arguments arguments)
    {
        arguments.Check("range", 3);
        var two = arguments.Positional.Count > 1;
        var start = two ? arguments.Integer(0, "start", 0) : 0;
        var stop = arguments.Integer(two ? 1 : 0, "stop", 0);
        var step = arguments.Integer(2, "step", 1);
        if (step == 0)
            throw arguments.At.Error("the step of a range must not be 0.");
        var count = step > 0 ? ((Int128)stop - start + step - 1) / step : ((Int128)start - stop - step - 1) / -(Int128)step;
        if (count > LongestRange)
            throw arguments.At.Error($"a range has more than {LongestRange} entries.");
        return new RangeValue(start, stop, step, (int)Int128.Max(0, count));
    }
}
