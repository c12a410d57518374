namespace XDeepServe.Models.Text.Templates;

/// <summary><c>a.name</c>: a method or attribute, else an entry.</summary>
internal sealed class AttributeAccess(Expression target, string name, Position at) : Expression(at)
{
    /// <inheritdoc/>
    protected override object? Evaluate(Rendering rendering) => Get(target.Value(rendering), name, At);

    /// <summary>The attribute of a value.</summary>
    public static object? Get(object? value, string name, Position at)
    {
        if (value is Undefined undefined)
            throw at.Error(undefined.Reason);
        return TryMember(value, name, out var member) || TryEntry(value, name, out member) ? member : Missing(value, name);
    }

    /// <summary>A method or attribute.</summary>
    internal static bool TryMember(object? value, string name, out object? member)
    {
        member = value switch
        {
            string text when TextMethods.Find(name) is { } method => Bind(method, text),
            OrderedDictionary<string, object?> mapping when MappingMethods.Find(name) is { } method => Bind(method, mapping),
            IReadOnlyList<object?> list when ListMethods.Find(name) is { } method => Bind(method, list),
            LoopState loop => loop.Attribute(name),
            MacroValue macro => macro.Attribute(name),
            _ => null,
        };
        return member is not null || (value is Namespace space && space.Attributes.TryGetValue(name, out member));
    }

    private static Function Bind(Filter method, object? value) => (rendering, arguments) => method(rendering, value, arguments);

    /// <summary>An entry of a mapping.</summary>
    internal static bool TryEntry(object? value, string name, out object? entry)
    {
        entry = null;
        return value is OrderedDictionary<string, object?> mapping && mapping.TryGetValue(name, out entry);
    }

    /// <summary>What stands for an attribute or entry that is not there.</summary>
    internal static Undefined Missing(object? value, string name) => new($"{Values.TypeName(value)} has no '{name}'.");
}

/// <summary><c>a[b]</c>: an entry, else a method or attribute.</summary>
internal sealed class ItemAccess(Expression target, Expression key, Position at) : Expression(at)
{
    /// <inheritdoc/>
    protected override object? Evaluate(Rendering rendering) => Get(rendering, target.Value(rendering), key.Value(rendering), At);

    /// <summary>The entry of a value.</summary>
    public static object? Get(Rendering rendering, object? value, object? key, Position at)
    {
        if (value is Undefined undefined)
            throw at.Error(undefined.Reason);
        if (key is string name)
            return AttributeAccess.TryEntry(value, name, out var entry) || AttributeAccess.TryMember(value, name, out entry) ? entry : AttributeAccess.Missing(value, name);
        if (Values.IsInteger(key, out var index))
        {
            if (value is IReadOnlyList<object?> list)
            {
                index += index < 0 ? list.Count : 0;
                return index >= 0 && index < list.Count ? list[(int)index] : new Undefined($"the list of {list.Count} entries has no entry {key}.");
            }
            if (value is string text)
            {
                var length = Values.Length(rendering, text, at);
                index += index < 0 ? length : 0;
                if (index < 0 || index >= length)
                    return new Undefined($"the string of {length} characters has no character {key}.");
                var start = PythonText.IndexOf(text, (int)index);
                return text.Substring(start, char.IsSurrogatePair(text, start) ? 2 : 1);
            }
        }
        return AttributeAccess.Missing(value, Printing.ToText(key, at));
    }
}

/// <summary><c>a[first:last:step]</c> of a list or a text.</summary>
internal sealed class Slice(Expression target, Expression? first, Expression? last, Expression? step, Position at) : Expression(at)
{
    /// <inheritdoc/>
    protected override object? Evaluate(Rendering rendering)
    {
        var value = target.Value(rendering);
        var by = Bound(step, rendering) ?? 1;
        if (by == 0)
            throw At.Error("the step of a slice must not be 0.");
        var list = value switch
        {
            IReadOnlyList<object?> entries => entries,
            string => Values.Iterate(rendering, value, At),
            Undefined undefined => throw At.Error(undefined.Reason),
            _ => throw At.Error($"{Values.TypeName(value)} cannot be sliced."),
        };
        var count = list.Count;
        // As in Python: bounds count from the end if negative, and are brought within the list.
        long Limit(Expression? bound, long otherwise)
        {
            if (Bound(bound, rendering) is not { } index)
                return otherwise;
            return Math.Clamp(index < 0 ? index + count : index, by < 0 ? -1 : 0, by < 0 ? count - 1 : count);
        }
        var start = Limit(first, by < 0 ? count - 1 : 0);
        var end = Limit(last, by < 0 ? -1 : count);
        by = Math.Clamp(by, -(long)count - 1, (long)count + 1);
        var length = by > 0 ? Math.Max(0, end - start + by - 1) / by : Math.Max(0, start - end - by - 1) / -by;
        if (list is RangeValue range)
            return range.Slice(start, end, by, (int)length);
        rendering.ChargeList(length, At);
        var part = new List<object?>();
        for (var index = start; by > 0 ? index < end : index > end; index += by)
            part.Add(list[(int)index]);
        return value is string ? string.Concat(part) : value is object?[]? part.ToArray() : part;
    }

    private long? Bound(Expression? bound, Rendering rendering) => bound?.Value(rendering) switch
    {
        null => null,
        var value when Values.IsInteger(value, out var number) => number,
        var value => throw At.Error($"a slice is bounded by whole numbers, not {Values.TypeName(value)}."),
    };
}
