using System.Globalization;
using System.Text;

namespace XDeepServe.Models.Text.Templates;

/// <summary>Filters that go through lists.</summary>
internal static class ListFilters
{
    /// <summary>A filter, null if it is not here.</summary>
    public static Filter? Find(string name) => name switch
    {
        "length" or "count" => (rendering, value, arguments) => Values.Length(rendering, value, arguments.At),
        "list" => (rendering, value, arguments) => new List<object?>(Values.Iterate(rendering, value, arguments.At)),
        "first" => (rendering, value, arguments) => Values.Iterate(rendering, value, arguments.At) is { Count: > 0 } list ? list[0] : new Undefined("the list is empty."),
        "last" => (rendering, value, arguments) => Values.Iterate(rendering, value, arguments.At) is { Count: > 0 } list ? list[^1] : new Undefined("the list is empty."),
        "reverse" => Reverse,
        "join" => Join,
        "sort" => Sort,
        "unique" => Unique,
        "sum" => Sum,
        "min" => (rendering, value, arguments) => Extreme(rendering, value, arguments, -1),
        "max" => (rendering, value, arguments) => Extreme(rendering, value, arguments, 1),
        "map" => Map,
        "batch" => Batch,
        "slice" => Slices,
        "groupby" => GroupBy,
        "select" => (rendering, value, arguments) => Choose(rendering, value, arguments, attribute: false, keep: true),
        "reject" => (rendering, value, arguments) => Choose(rendering, value, arguments, attribute: false, keep: false),
        "selectattr" => (rendering, value, arguments) => Choose(rendering, value, arguments, attribute: true, keep: true),
        "rejectattr" => (rendering, value, arguments) => Choose(rendering, value, arguments, attribute: true, keep: false),
        _ => null,
    };

    private static object? Reverse(Rendering rendering, object? value, Arguments arguments)
    {
        var list = new List<object?>(Values.Iterate(rendering, value, arguments.At));
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
        foreach (var entry in Values.Iterate(rendering, value, arguments.At))
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
        var single = Key(arguments, 2);
        Func<object?, object?> key = entry => paths is { Length: > 1 } ? paths.Select(path => path(entry)).ToArray() : new[] { single(entry) };
        return SortBy(rendering, Values.Iterate(rendering, value, arguments.At), key, sensitive, arguments.Flag(0, "reverse"), arguments.At);
    }

    /// <summary>Sorts entries by a key, equals in their order.</summary>
    public static List<object?> SortBy(
        Rendering rendering, IReadOnlyList<object?> list, Func<object?, object?> key, bool sensitive, bool reverse, Position at)
    {
        var order = Comparer<object?>.Create((left, right) => Values.Compare(rendering, left, right, at));
        rendering.ChargeList(list.Count * 4L, at);
        object? Folded(object? entry) => key(entry) is object?[] keys
            ? keys.Select(one => Fold(rendering, one, sensitive, at)).ToArray() : Fold(rendering, key(entry), sensitive, at);
        try
        {
            return (reverse ? list.OrderByDescending(Folded, order) : list.OrderBy(Folded, order)).ToList();
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
        foreach (var entry in Values.Iterate(rendering, value, arguments.At))
        {
            rendering.ChargeList(seen.Count, arguments.At);
            var mark = Fold(rendering, key(entry), sensitive, arguments.At);
            if (seen.Exists(other => Values.Equals(rendering, other, mark, arguments.At)))
                continue;
            seen.Add(mark);
            result.Add(entry);
        }
        return result;
    }

    private static object? Sum(Rendering rendering, object? value, Arguments arguments)
    {
        var key = Key(arguments, 0);
        return Values.Iterate(rendering, value, arguments.At).Aggregate(arguments.Get(1, "start", 0L), (sum, entry) => Arithmetic.Apply(rendering, "+", sum, key(entry), arguments.At));
    }

    private static object? Extreme(Rendering rendering, object? value, Arguments arguments, int sign)
    {
        var (sensitive, path) = (arguments.Flag(0, "case_sensitive"), Key(arguments, 1));
        object? Mark(object? entry) => Fold(rendering, path(entry), sensitive, arguments.At);
        var list = Values.Iterate(rendering, value, arguments.At);
        return list.Count == 0 ? new Undefined("the list is empty.")
            : list.Aggregate((best, entry) => Values.Compare(rendering, Mark(entry), Mark(best), arguments.At) * sign > 0 ? entry : best);
    }

    /// <summary>Rows of so many entries, the last filled up if asked for.</summary>
    private static List<object?> Batch(Rendering rendering, object? value, Arguments arguments)
    {
        arguments.Check("batch", 2, "linecount", "fill_with");
        var count = Math.Max(1, arguments.Integer(0, "linecount", 1));
        var rows = Values.Iterate(rendering, value, arguments.At).Chunk((int)Math.Min(count, Rendering.LongestList)).Select(row => (object?)row.ToList()).ToList();
        if (rows.Count > 0 && arguments.Get(1, "fill_with", null) is { } filling && rows[^1] is List<object?> last)
        {
            rendering.ChargeList(count - last.Count, arguments.At);
            last.AddRange(Enumerable.Repeat(filling, (int)count - last.Count));
        }
        return rows;
    }

    /// <summary>So many columns of nearly equal length, short ones filled up if asked for.</summary>
    private static List<object?> Slices(Rendering rendering, object? value, Arguments arguments)
    {
        arguments.Check("slice", 2, "slices", "fill_with");
        var list = Values.Iterate(rendering, value, arguments.At);
        var count = arguments.Integer(0, "slices", 0);
        if (count <= 0)
            throw arguments.At.Error("the argument 'slices' must be positive.");
        rendering.ChargeList(count, arguments.At);
        var (each, longer) = ((int)(list.Count / count), (int)(list.Count % count));
        var (columns, start) = (new List<object?>(), 0);
        for (var i = 0; i < count; i++)
        {
            var length = each + (i < longer ? 1 : 0);
            var column = list.Skip(start).Take(length).ToList();
            start += length;
            if (i >= longer && arguments.Get(1, "fill_with", null) is { } filling)
                column.Add(filling);
            columns.Add(column);
        }
        return columns;
    }

    /// <summary>Entries of equal attribute together, as pairs of the attribute and a list.</summary>
    private static List<object?> GroupBy(Rendering rendering, object? value, Arguments arguments)
    {
        arguments.Check("groupby", 3, "attribute", "default", "case_sensitive");
        var sensitive = arguments.Flag(2, "case_sensitive");
        var key = Path(arguments.Get(0, "attribute"), arguments, arguments.Get(1, "default", null));
        var groups = new List<object?>();
        object? current = null;
        foreach (var entry in SortBy(rendering, Values.Iterate(rendering, value, arguments.At), key, sensitive, reverse: false, arguments.At))
        {
            var mark = Fold(rendering, key(entry), sensitive, arguments.At);
            if (groups.Count == 0 || !Values.Equals(rendering, current, mark, arguments.At))
                groups.Add(new object?[] { key(entry), new List<object?>() });
            current = mark;
            ((List<object?>)((object?[])groups[^1]!)[1]!).Add(entry);
        }
        return groups;
    }

    /// <summary><c>map('filter', …)</c> or <c>map(attribute='name', default=…)</c></summary>
    private static List<object?> Map(Rendering rendering, object? value, Arguments arguments)
    {
        var list = Values.IsTrue(value) ? Values.Iterate(rendering, value, arguments.At) : [];
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
        var list = Values.IsTrue(value) ? Values.Iterate(rendering, value, arguments.At) : [];
        var key = attribute ? Path(arguments.Get(0, "attribute"), arguments) : entry => entry;
        var place = attribute ? 1 : 0;
        if (arguments.Positional.Count <= place)
            return list.Where(entry => Values.IsTrue(key(entry)) == keep).ToList();
        var name = arguments.Text(place, "test");
        var test = Tests.Find(name) ?? throw arguments.At.Error($"the test '{name}' is not supported.");
        var rest = arguments.Skip(place + 1);
        return list.Where(entry => test(key(entry), rest) == keep).ToList();
    }

    /// <summary>A value as it is compared: without large letters unless they matter.</summary>
    private static object? Fold(Rendering rendering, object? value, bool sensitive, Position at)
    {
        if (value is not string text || sensitive)
            return value;
        rendering.ChargeText(text.Length, at);
        return text.ToLowerInvariant();
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
            ItemAccess.Get(arguments.Rendering, value, name, arguments.At) is var found && found is Undefined && otherwise is not null ? otherwise : found;
        if (attribute is long index)
            return entry => Step(entry, index);
        if (attribute is not string path)
            throw arguments.At.Error("the argument 'attribute' must be a string or a whole number.");
        var names = path.Split('.').Select(name => long.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out var place) ? (object)place : name).ToArray();
        return entry => names.Aggregate(entry, Step);
    }
}
