using System.Globalization;
using System.Text;

namespace XDeepServe.Models.Text.Templates;

/// <summary>Filters that go through lists.</summary>
internal static class ListFilters
{
    /// <summary>A filter, null if it is not here.</summary>
    public static Filter? Find(string name) => name switch
    {
        "length" or "count" => (_, value, arguments) => Values.Length(value, arguments.At),
        "list" => (_, value, arguments) => new List<object?>(Values.Iterate(value, arguments.At)),
        "first" => (_, value, arguments) => Values.Iterate(value, arguments.At) is { Count: > 0 } list ? list[0] : new Undefined("the list is empty."),
        "last" => (_, value, arguments) => Values.Iterate(value, arguments.At) is { Count: > 0 } list ? list[^1] : new Undefined("the list is empty."),
        "reverse" => Reverse,
        "join" => Join,
        "sort" => Sort,
        "unique" => Unique,
        "sum" => Sum,
        "min" => (_, value, arguments) => Extreme(value, arguments, -1),
        "max" => (_, value, arguments) => Extreme(value, arguments, 1),
        "map" => Map,
        "select" => (rendering, value, arguments) => Choose(rendering, value, arguments, attribute: false, keep: true),
        "reject" => (rendering, value, arguments) => Choose(rendering, value, arguments, attribute: false, keep: false),
        "selectattr" => (rendering, value, arguments) => Choose(rendering, value, arguments, attribute: true, keep: true),
        "rejectattr" => (rendering, value, arguments) => Choose(rendering, value, arguments, attribute: true, keep: false),
        _ => null,
    };

    private static object? Reverse(Rendering rendering, object? value, Arguments arguments)
    {
        var list = new List<object?>(Values.Iterate(value, arguments.At));
        list.Reverse();
        return value is string ? string.Concat(list) : list;
    }

    private static string Join(Rendering rendering, object? value, Arguments arguments)
    {
        arguments.Check("join", 2, "d", "attribute");
        var separator = Printing.ToText(arguments.Get(0, "d", ""), arguments.At);
        var key = Key(arguments, 1);
        var result = new StringBuilder();
        var first = true;
        foreach (var entry in Values.Iterate(value, arguments.At))
        {
            if (!first)
                result.Append(separator);
            first = false;
            result.Append(Printing.ToText(key(entry), arguments.At));
            if (result.Length > Rendering.LongestText)
                break;
        }
        rendering.ChargeText(result.Length, arguments.At);
        return result.ToString();
    }

    private static List<object?> Sort(Rendering rendering, object? value, Arguments arguments)
    {
        arguments.Check("sort", 3, "reverse", "case_sensitive", "attribute");
        var sensitive = arguments.Flag(1, "case_sensitive");
        var paths = (arguments.Get(2, "attribute", null) as string)?.Split(',').Select(path => Path(path, arguments)).ToArray();
        Func<object?, object?> key = paths is { Length: > 1 } ? entry => paths.Select(path => path(entry)).ToArray() : Key(arguments, 2);
        var order = Comparer<object?>.Create((left, right) => Values.Compare(left, right, arguments.At));
        var list = Values.Iterate(value, arguments.At);
        rendering.ChargeList(list.Count * 4L, arguments.At);
        object? Folded(object? entry) => key(entry) switch
        {
            string text when !sensitive => text.ToLowerInvariant(),
            object?[] keys when !sensitive => keys.Select(one => one is string text ? text.ToLowerInvariant() : one).ToArray(),
            var other => other,
        };
        try
        {
            return (arguments.Flag(0, "reverse") ? list.OrderByDescending(Folded, order) : list.OrderBy(Folded, order)).ToList();
        }
        catch (InvalidOperationException error) when (error.InnerException is TemplateException inner)
        {
            throw inner;
        }
    }

    private static List<object?> Unique(Rendering rendering, object? value, Arguments arguments)
    {
        arguments.Check("unique", 2, "case_sensitive", "attribute");
        var sensitive = arguments.Flag(0, "case_sensitive");
        var key = Key(arguments, 1);
        var (seen, result) = (new List<object?>(), new List<object?>());
        foreach (var entry in Values.Iterate(value, arguments.At))
        {
            rendering.ChargeList(seen.Count, arguments.At);
            var mark = key(entry) is string text && !sensitive ? text.ToLowerInvariant() : key(entry);
            if (seen.Exists(other => Values.Equals(other, mark)))
                continue;
            seen.Add(mark);
            result.Add(entry);
        }
        return result;
    }

    private static object? Sum(Rendering rendering, object? value, Arguments arguments)
    {
        var key = Key(arguments, 0);
        return Values.Iterate(value, arguments.At).Aggregate(arguments.Get(1, "start", 0L), (sum, entry) => Arithmetic.Apply(rendering, "+", sum, key(entry), arguments.At));
    }

    private static object? Extreme(object? value, Arguments arguments, int sign)
    {
        var key = Key(arguments, 1);
        var list = Values.Iterate(value, arguments.At);
        return list.Count == 0 ? new Undefined("the list is empty.")
            : list.Aggregate((best, entry) => Values.Compare(key(entry), key(best), arguments.At) * sign > 0 ? entry : best);
    }

    /// <summary><c>map('filter', …)</c> or <c>map(attribute='name', default=…)</c></summary>
    private static List<object?> Map(Rendering rendering, object? value, Arguments arguments)
    {
        var list = Values.Iterate(value, arguments.At);
        rendering.ChargeList(list.Count, arguments.At);
        if (arguments.Positional.Count == 0)
        {
            arguments.Check("map", 0, "attribute", "default");
            return list.Select(Path(arguments.Get(0, "attribute"), arguments, arguments.Get(1, "default", null))).ToList();
        }
        var name = arguments.Text(0, "name");
        var filter = Filters.Find(name) ?? throw arguments.At.Error($"the filter '{name}' is not supported.");
        var rest = arguments.Skip(1);
        return list.Select(entry => filter(rendering, entry, rest)).ToList();
    }

    /// <summary>Keeps the entries, or those with an attribute, that pass a test; without a test those that are true.</summary>
    private static List<object?> Choose(Rendering rendering, object? value, Arguments arguments, bool attribute, bool keep)
    {
        var list = Values.Iterate(value, arguments.At);
        rendering.ChargeList(list.Count, arguments.At);
        var key = attribute ? Path(arguments.Get(0, "attribute"), arguments) : entry => entry;
        var place = attribute ? 1 : 0;
        if (arguments.Positional.Count <= place)
            return list.Where(entry => Values.IsTrue(key(entry)) == keep).ToList();
        var name = arguments.Text(place, "test");
        var test = Tests.Find(name) ?? throw arguments.At.Error($"the test '{name}' is not supported.");
        var rest = arguments.Skip(place + 1);
        return list.Where(entry => test(key(entry), rest) == keep).ToList();
    }

    /// <summary>How a filter looks at entries: as they are, or at an attribute of theirs.</summary>
    private static Func<object?, object?> Key(Arguments arguments, int place) =>
        arguments.Get(place, "attribute", null) is { } attribute ? Path(attribute, arguments) : entry => entry;

    /// <summary>How an attribute is reached, <c>a.b.0</c> step by step.</summary>
    /// <param name="attribute">The path.</param>
    /// <param name="arguments">Where an error lies.</param>
    /// <param name="otherwise">Takes the place of what is not there; null: it stays undefined.</param>
    private static Func<object?, object?> Path(object? attribute, Arguments arguments, object? otherwise = null)
    {
        object? Step(object? value, object name) =>
            ItemAccess.Get(value, name, arguments.At) is var found && found is Undefined && otherwise is not null ? otherwise : found;
        if (attribute is long index)
            return entry => Step(entry, index);
        if (attribute is not string path)
            throw arguments.At.Error("the argument 'attribute' must be a string or a whole number.");
        var names = path.Split('.').Select(name => long.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out var place) ? (object)place : name).ToArray();
        return entry => names.Aggregate(entry, Step);
    }
}
