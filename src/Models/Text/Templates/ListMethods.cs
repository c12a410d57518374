namespace XDeepServe.Models.Text.Templates;

/// <summary>The methods of lists.</summary>
internal static class ListMethods
{
    /// <summary>A method, null if lists have no such.</summary>
    public static Filter? Find(string name) => name switch
    {
        "index" => (rendering, value, arguments) => Index(Values.Iterate(rendering, value, arguments.At), arguments),
        "count" => (rendering, value, arguments) => (long)Values.Iterate(rendering, value, arguments.At).Count(entry => Values.Equals(rendering, entry, arguments.Get(0, "value"), arguments.At)),
        "copy" => (_, value, _) => value, // nothing changes a list
        "append" or "extend" or "insert" or "pop" or "remove" or "reverse" or "sort" or "clear" => (_, _, arguments) =>
            throw arguments.At.Error($"'{name}' would change a list, which templates must not; set a name to 'list + [entry]' instead."),
        _ => null,
    };

    private static long Index(IReadOnlyList<object?> list, Arguments arguments)
    {
        var wanted = arguments.Get(0, "value");
        for (var i = 0; i < list.Count; i++)
            if (Values.Equals(arguments.Rendering, list[i], wanted, arguments.At))
                return i;
        throw arguments.At.Error("the list has no such entry.");
    }
}
