using System.Globalization;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace XDeepServe.Models.Text.Templates;

/// <summary>
/// The values of a template: null (none), <see cref="Undefined"/>, bool, long, double, <c>BigInteger</c> (from JSON alone), string, <c>List</c>, <c>object[]</c> (a
/// tuple), <c>OrderedDictionary</c> (a mapping), <see cref="Namespace"/>, <see cref="LoopState"/>, <see cref="Function"/>, <see cref="MacroValue"/>.
/// </summary>
internal static class Values
{
    /// <summary>A JSON value as a template sees it.</summary>
    public static object? FromJson(JsonNode? node)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        switch (node?.GetValueKind())
        {
            case null or JsonValueKind.Null or JsonValueKind.Undefined:
                return null;
            case JsonValueKind.Object:
                var mapping = new OrderedDictionary<string, object?>(StringComparer.Ordinal);
                foreach (var (name, value) in node.AsObject())
                    mapping[name] = FromJson(value);
                return mapping;
            case JsonValueKind.Array:
                return node.AsArray().Select(FromJson).ToList();
            case JsonValueKind.String:
                return node.GetValue<string>();
            case JsonValueKind.True:
                return true;
            case JsonValueKind.False:
                return false;
            default:
                // Through the text: a number's CLR type depends on how the node was made.
                var number = JsonSerializer.SerializeToElement(node);
                if (number.TryGetInt64(out var whole))
                    return whole;
                // A whole number of any length is kept for printing.
                return number.GetRawText() is { Length: < 4096 } digits && BigInteger.TryParse(digits, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var large)
                    ? large : number.GetDouble();
        }
    }

    /// <summary>How an error calls the type of a value.</summary>
    public static string TypeName(object? value) => value switch
    {
        null => "none",
        Undefined => "undefined",
        bool => "a boolean",
        long or double or BigInteger => "a number",
        string => "a string",
        IReadOnlyList<object?> => "a list",
        OrderedDictionary<string, object?> => "a mapping",
        Function or MacroValue => "a function",
        _ => "an object",
    };

    /// <summary>Whether a condition holds.</summary>
    public static bool IsTrue(object? value) => value switch
    {
        null or Undefined or false or 0L or 0.0 or "" => false,
        IReadOnlyList<object?> list => list.Count > 0,
        OrderedDictionary<string, object?> mapping => mapping.Count > 0,
        _ => true,
    };

    /// <summary>What a loop over a value goes through.</summary>
    public static IReadOnlyList<object?> Iterate(Rendering rendering, object? value, Position at)
    {
        rendering.ChargeList(value switch
        {
            IReadOnlyList<object?> list => list.Count,
            OrderedDictionary<string, object?> mapping => mapping.Count,
            string text => text.Length,
            Undefined => 0,
            _ => throw at.Error($"{TypeName(value)} cannot be gone through."),
        }, at);
        return value switch
        {
            IReadOnlyList<object?> list => list,
            OrderedDictionary<string, object?> mapping => [.. mapping.Keys],
            string text => PythonText.Characters(text),
            _ => [],
        };
    }

    /// <summary>The length of a value.</summary>
    public static long Length(Rendering rendering, object? value, Position at)
    {
        switch (value)
        {
            case IReadOnlyList<object?> list:
                return list.Count;
            case OrderedDictionary<string, object?> mapping:
                return mapping.Count;
            case string text:
                rendering.ChargeText(text.Length, at);
                return PythonText.Length(text);
            case Undefined:
                return 0;
            default:
                throw at.Error($"{TypeName(value)} has no length.");
        }
    }

    /// <summary>A number as such; booleans count as 0 and 1.</summary>
    public static bool IsNumber(object? value, out double number)
    {
        number = value switch { long whole => whole, double real => real, true => 1, _ => 0 };
        return value is long or double or bool;
    }

    /// <summary>Whether a value is a whole number; booleans count as 0 and 1.</summary>
    public static bool IsInteger(object? value, out long number)
    {
        number = value switch { long whole => whole, true => 1, _ => 0 };
        return value is long or bool;
    }

    /// <summary>Whether two values are equal.</summary>
    public static bool Equals(Rendering rendering, object? left, object? right, Position at)
    {
        rendering.Step(at);
        if (IsInteger(left, out var a) && IsInteger(right, out var b))
            return a == b;
        if (IsNumber(left, out var x) && IsNumber(right, out var y))
            return x == y;
        switch (left, right)
        {
            case (string one, string other):
                rendering.ChargeText(Math.Min(one.Length, other.Length) / 8, at);
                return string.Equals(one, other, StringComparison.Ordinal);
            case (BigInteger one, BigInteger other):
                return one == other;
            case (Undefined, Undefined):
                return true;
            case (IReadOnlyList<object?> one, IReadOnlyList<object?> other):
                if (one.Count != other.Count || Kind(one) != Kind(other))
                    return false;
                for (var i = 0; i < one.Count; i++)
                    if (!Equals(rendering, one[i], other[i], at))
                        return false;
                return true;
            case (OrderedDictionary<string, object?> one, OrderedDictionary<string, object?> other):
                return one.Count == other.Count && one.All(entry => other.TryGetValue(entry.Key, out var value) && Equals(rendering, entry.Value, value, at));
            default:
                return ReferenceEquals(left, right);
        }
    }

    /// <summary>Lists are equal to lists only, tuples to tuples, ranges to ranges.</summary>
    private static int Kind(IReadOnlyList<object?> list) => list is object?[]? 1 : list is RangeValue ? 2 : 0;

    /// <summary>Which of two values goes first: negative, 0 or positive.</summary>
    public static int Compare(Rendering rendering, object? left, object? right, Position at)
    {
        rendering.Step(at);
        if (IsInteger(left, out var a) && IsInteger(right, out var b))
            return a.CompareTo(b);
        if (IsNumber(left, out var x) && IsNumber(right, out var y))
            return x.CompareTo(y);
        if (left is string one && right is string other)
        {
            rendering.ChargeText(Math.Min(one.Length, other.Length) / 8, at);
            return PythonText.Compare(one, other);
        }
        if (left is IReadOnlyList<object?> list && right is IReadOnlyList<object?> second)
        {
            for (var i = 0; i < list.Count && i < second.Count; i++)
                if (!Equals(rendering, list[i], second[i], at))
                    return Compare(rendering, list[i], second[i], at);
            return list.Count.CompareTo(second.Count);
        }
        throw at.Error($"{TypeName(left)} and {TypeName(right)} have no order.");
    }

    /// <summary>Whether a value is in another: a text in a text, an entry in a list, a key in a mapping.</summary>
    public static bool Contains(Rendering rendering, object? container, object? value, Position at) => container switch
    {
        string text => value is string part ? PythonText.Find(rendering, text, part, at) >= 0 : throw at.Error($"only a string can be in a string, not {TypeName(value)}."),
        IReadOnlyList<object?> list => list.Any(entry => Equals(rendering, entry, value, at)),
        OrderedDictionary<string, object?> mapping => value is string key && mapping.ContainsKey(key),
        Undefined => false,
        _ => throw at.Error($"nothing can be in {TypeName(container)}."),
    };
}
