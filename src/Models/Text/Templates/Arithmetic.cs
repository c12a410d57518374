namespace XDeepServe.Models.Text.Templates;

/// <summary>What the operators do, as in Python.</summary>
internal static class Arithmetic
{
    /// <summary>Carries out an operator.</summary>
    /// <param name="rendering">The run.</param>
    /// <param name="symbol">The operator: + - * / // % **.</param>
    /// <param name="left">What stands before it.</param>
    /// <param name="right">What stands behind it.</param>
    /// <param name="at">Where it stands.</param>
    public static object? Apply(Rendering rendering, string symbol, object? left, object? right, Position at)
    {
        if (Values.IsInteger(left, out var a) && Values.IsInteger(right, out var b))
            return Numbers(symbol, a, b, at);
        if (Values.IsNumber(left, out var x) && Values.IsNumber(right, out var y))
            return Real(symbol, x, y, at);
        switch (symbol, left, right)
        {
            case ("+", string one, string other):
                rendering.ChargeText((long)one.Length + other.Length, at);
                return one + other;
            case ("+", object?[] one, object?[] other):
                return Join(rendering, one, other, at).ToArray();
            case ("+", List<object?> one, List<object?> other):
                return Join(rendering, one, other, at);
            case ("%", string text, not Undefined):
                return PercentFormat.Write(text, right, rendering, at);
            case ("*", string text, _) when Values.IsInteger(right, out var times):
                rendering.ChargeText(Times(text.Length, times), at);
                return string.Concat(Enumerable.Repeat(text, (int)Math.Max(0, text.Length == 0 ? 0 : times)));
            case ("*", _, string text) when Values.IsInteger(left, out var times):
                return Apply(rendering, symbol, text, times, at);
            case ("*", List<object?> list, _) when Values.IsInteger(right, out var times):
                rendering.ChargeList(Times(list.Count, times), at);
                return Enumerable.Repeat(list, (int)Math.Max(0, list.Count == 0 ? 0 : times)).SelectMany(entry => entry).ToList();
            default:
                var undefined = left as Undefined ?? right as Undefined;
                throw at.Error(undefined is not null ? undefined.Reason
                    : $"'{symbol}' does not work on {Values.TypeName(left)} and {Values.TypeName(right)}.");
        }
    }

    private static List<object?> Join(Rendering rendering, IReadOnlyList<object?> one, IReadOnlyList<object?> other, Position at)
    {
        rendering.ChargeList((long)one.Count + other.Count, at);
        return [.. one, .. other];
    }

    private static long Times(int count, long times) => times <= 0 || count == 0 ? 0 : times > int.MaxValue ? long.MaxValue : count * times;

    private static object Numbers(string symbol, long a, long b, Position at)
    {
        if (b == 0 && symbol is "/" or "//" or "%")
            throw at.Error("division by zero.");
        try
        {
            return symbol switch
            {
                "/" => (double)a / b,
                "**" when b < 0 => Math.Pow(a, b),
                _ => (object)Whole(symbol, a, b), // else both would become double
            };
        }
        catch (OverflowException)
        {
            throw at.Error($"the result of '{symbol}' is too large.");
        }
    }

    private static long Whole(string symbol, long a, long b) => symbol switch
    {
        "+" => checked(a + b),
        "-" => checked(a - b),
        "*" => checked(a * b),
        "//" => checked(a / b) - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0),
        "%" => b == -1 ? 0 : a % b + (a % b != 0 && (a < 0) != (b < 0) ? b : 0),
        _ => Power(a, b),
    };

    private static long Power(long a, long b)
    {
        if (a is 0 or 1)
            return b == 0 ? 1 : a;
        if (a == -1)
            return b % 2 == 0 ? 1 : -1;
        long power = 1;
        for (; b > 0; b--) // ends soon: any other base overflows within 63 steps
            power = checked(power * a);
        return power;
    }

    /// <summary>The remainder with the sign of the divisor, as in Python.</summary>
    private static double Remainder(double x, double y) =>
        x % y is var rest && rest != 0 ? (rest < 0) != (y < 0) ? rest + y : rest : Math.CopySign(0, y);

    private static double Real(string symbol, double x, double y, Position at)
    {
        if (y == 0 && symbol is "/" or "//" or "%")
            throw at.Error("division by zero.");
        return symbol switch
        {
            "+" => x + y,
            "-" => x - y,
            "*" => x * y,
            "/" => x / y,
            "//" => Math.Floor((x - Remainder(x, y)) / y + 0.5), // the quotient is whole but for rounding
            "%" => Remainder(x, y),
            _ => Math.Pow(x, y),
        };
    }
}
