namespace XDeepServe.Server.Responses;

/// <summary>What turns raw values into those that clients expect.</summary>
internal static class Activation
{
    /// <summary>Probabilities of a score head's values: the logistic function of one, the softmax of several.</summary>
    public static float[] Of(IReadOnlyList<float> values)
    {
        return values.Count == 1 ? [1 / (1 + MathF.Exp(-values[0]))] : Softmax(values);
    }

    /// <summary>Shares that add up to 1.</summary>
    public static float[] Softmax(IReadOnlyList<float> values)
    {
        double most = values.Max(), sum = values.Sum(value => Math.Exp(value - most));
        return [.. values.Select(value => (float)(Math.Exp(value - most) / sum))];
    }

    /// <summary>A vector of length 1 in the same direction.</summary>
    public static float[] Unit(IReadOnlyList<float> values)
    {
        double length = Math.Sqrt(values.Sum(value => (double)value * value));
        return [.. values.Select(value => (float)(value / Math.Max(length, 1e-12)))];
    }

    /// <summary>Cosine of the angle between two vectors.</summary>
    public static float Cosine(IReadOnlyList<float> one, IReadOnlyList<float> other)
    {
        (float[] a, float[] b) = (Unit(one), Unit(other));
        return a.Zip(b, (x, y) => x * y).Sum();
    }
}
