using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// Loops over rows of singles. The order of every sum depends on the length alone, never on alignment, so that a row gives the
/// same bits wherever it lies. (512-bit vectors are split by the compiler where the processor's are narrower.)
/// </summary>
internal static unsafe class VectorMath
{
    private const int Lanes = 16;

    /// <summary>target += addend.</summary>
    public static void Add(float* target, float* addend, int count)
    {
        int i = 0;
        for (; i <= count - Lanes; i += Lanes)
            (Vector512.Load(target + i) + Vector512.Load(addend + i)).Store(target + i);
        for (; i < count; i++)
            target[i] += addend[i];
    }

    /// <summary>target = factor x source + target, each element rounded once.</summary>
    public static void MultiplyAdd(float* target, float* source, float factor, int count)
    {
        Vector512<float> factors = Vector512.Create(factor);
        int i = 0;
        for (; i <= count - Lanes; i += Lanes)
            Vector512.FusedMultiplyAdd(factors, Vector512.Load(source + i), Vector512.Load(target + i)).Store(target + i);
        for (; i < count; i++)
            target[i] = MathF.FusedMultiplyAdd(factor, source[i], target[i]);
    }

    /// <summary>values *= factor.</summary>
    public static void Scale(float* values, float factor, int count)
    {
        int i = 0;
        for (; i <= count - Lanes; i += Lanes)
            (Vector512.Load(values + i) * factor).Store(values + i);
        for (; i < count; i++)
            values[i] *= factor;
    }

    /// <summary>target *= factors, each by its own.</summary>
    public static void Multiply(float* target, float* factors, int count)
    {
        int i = 0;
        for (; i <= count - Lanes; i += Lanes)
            (Vector512.Load(target + i) * Vector512.Load(factors + i)).Store(target + i);
        for (; i < count; i++)
            target[i] *= factors[i];
    }

    /// <summary>Sum of all values.</summary>
    public static float Sum(float* values, int count)
    {
        Vector512<float> sums = default;
        int i = 0;
        for (; i <= count - Lanes; i += Lanes)
            sums += Vector512.Load(values + i);
        float sum = Vector512.Sum(sums);
        for (; i < count; i++)
            sum += values[i];
        return sum;
    }

    /// <summary>Sum of left x right.</summary>
    public static float Dot(float* left, float* right, int count)
    {
        Vector512<float> sums = default;
        int i = 0;
        for (; i <= count - Lanes; i += Lanes)
            sums = Vector512.FusedMultiplyAdd(Vector512.Load(left + i), Vector512.Load(right + i), sums);
        float sum = Vector512.Sum(sums);
        for (; i < count; i++)
            sum = MathF.FusedMultiplyAdd(left[i], right[i], sum);
        return sum;
    }

    /// <summary>The largest value; NaN counts as negative infinity.</summary>
    public static float Largest(float* values, int count)
    {
        Vector512<float> most = Vector512.Create(float.NegativeInfinity);
        int i = 0;
        for (; i <= count - Lanes; i += Lanes)
            most = Vector512.MaxNumber(most, Vector512.Load(values + i));
        Vector256<float> half = Vector256.MaxNumber(most.GetLower(), most.GetUpper());
        Vector128<float> quarter = Vector128.MaxNumber(half.GetLower(), half.GetUpper());
        float largest = MathF.Max(MathF.Max(quarter[0], quarter[1]), MathF.Max(quarter[2], quarter[3]));
        for (; i < count; i++)
            if (values[i] > largest)
                largest = values[i];
        return largest;
    }

    /// <summary>Index of the first of the largest values; 0 if none is a number.</summary>
    public static int IndexOfLargest(float* values, int count)
    {
        float largest = Largest(values, count);
        Vector512<float> wanted = Vector512.Create(largest);
        int i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            ulong found = Vector512.Equals(Vector512.Load(values + i), wanted).ExtractMostSignificantBits();
            if (found != 0)
                return i + System.Numerics.BitOperations.TrailingZeroCount(found);
        }
        for (; i < count; i++)
            if (values[i] == largest)
                return i;
        return 0;
    }

    /// <summary>target = e^((source - shift) x factor); returns the sum. May run in place.</summary>
    public static float Exponential(float* target, float* source, float shift, float factor, int count)
    {
        Vector512<float> sums = default;
        int i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            Vector512<float> power = Exponential((Vector512.Load(source + i) - Vector512.Create(shift)) * factor);
            power.Store(target + i);
            sums += power;
        }
        if (i < count)
        {
            // Lanes behind the end get e^-infinity, 0.
            float* rest = stackalloc float[Lanes];
            Vector512.Create(float.NegativeInfinity).Store(rest);
            for (int lane = 0; lane < count - i; lane++)
                rest[lane] = (source[i + lane] - shift) * factor;
            Vector512<float> power = Exponential(Vector512.Load(rest));
            power.Store(rest);
            new ReadOnlySpan<float>(rest, count - i).CopyTo(new Span<float>(target + i, count - i));
            sums += power;
        }
        return Vector512.Sum(sums);
    }

    /// <summary>
    /// e^x by reduction to [-ln 2 / 2, ln 2 / 2] and a polynomial of the seventh degree: within 2 units in the last place, 0 below
    /// -87.3, infinity above 88.3. (The library's own goes through doubles at a quarter of the speed.)
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Exponential(Vector512<float> x)
    {
        // ln 2 in two parts, so that n · ln 2 is exact to the last place of the remainder.
        Vector512<float> n = Vector512.Round(x * 1.44269504f);
        Vector512<float> rest = Vector512.FusedMultiplyAdd(n, Vector512.Create(-0.693359375f), x);
        rest = Vector512.FusedMultiplyAdd(n, Vector512.Create(2.12194440e-4f), rest);
        Vector512<float> sum = Vector512.Create(1 / 5040f);
        sum = Vector512.FusedMultiplyAdd(sum, rest, Vector512.Create(1 / 720f));
        sum = Vector512.FusedMultiplyAdd(sum, rest, Vector512.Create(1 / 120f));
        sum = Vector512.FusedMultiplyAdd(sum, rest, Vector512.Create(1 / 24f));
        sum = Vector512.FusedMultiplyAdd(sum, rest, Vector512.Create(1 / 6f));
        sum = Vector512.FusedMultiplyAdd(sum, rest, Vector512.Create(0.5f));
        sum = Vector512.FusedMultiplyAdd(sum, rest, Vector512<float>.One);
        sum = Vector512.FusedMultiplyAdd(sum, rest, Vector512<float>.One);
        Vector512<float> power = sum * ((Vector512.ConvertToInt32(n) + Vector512.Create(127)) << 23).AsSingle();
        power = Vector512.ConditionalSelect(Vector512.LessThan(x, Vector512.Create(-87.3f)), Vector512<float>.Zero, power);
        power = Vector512.ConditionalSelect(Vector512.GreaterThan(x, Vector512.Create(88.3f)), Vector512.Create(float.PositiveInfinity), power);
        return Vector512.ConditionalSelect(Vector512.Equals(x, x), power, x);
    }
}
