using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace XDeepServe.Kernels;

/// <summary>8-bit floats (E4M3 without infinities: largest value 448, NaN is all ones) and their squares of 128 x 128 values.</summary>
public static class Float8
{
    /// <summary>The largest value.</summary>
    public const float Largest = 448;

    /// <summary>Widens one value; exact.</summary>
    public static float ToSingle(byte value)
    {
        int magnitude = value & 0x7F;
        // The same bits seven places up are the value with another exponent bias: 2^120 mends it, subnormal values too.
        float finite = magnitude == 0x7F ? float.NaN : BitConverter.Int32BitsToSingle(magnitude << 20) * BitConverter.UInt32BitsToSingle(0x7B800000);
        return value > 0x7F ? -finite : finite;
    }

    /// <summary>Sixteen values, widened.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<float> ToSingle(Vector128<byte> values)
    {
        Vector512<uint> bits = Widening.Bytes(values);
        Vector512<uint> magnitude = bits & Vector512.Create(0x7Fu);
        Vector512<uint> sign = (bits & Vector512.Create(0x80u)) << 24;
        Vector512<uint> finite = ((magnitude << 20).AsSingle() * BitConverter.UInt32BitsToSingle(0x7B800000)).AsUInt32();
        Vector512<uint> nan = Vector512.Equals(magnitude, Vector512.Create(0x7Fu)) & Vector512.Create(0x7FC00000u);
        return (sign | finite | nan).AsSingle();
    }

    /// <summary>Rounds one value to the nearest, ties to even; what is too large becomes the largest.</summary>
    public static byte FromSingle(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value), sign = bits >> 24 & 0x80;
        float magnitude = MathF.Abs(value);
        if (float.IsNaN(value))
            return (byte)(sign | 0x7F);
        if (magnitude >= Largest)
            return (byte)(sign | 0x7E);
        if (magnitude < 1f / 64)
            return (byte)(sign | (uint)MathF.Round(magnitude * 512)); // subnormal: steps of 2^-9
        bits &= 0x7FFFFFFF;
        return (byte)(sign | (bits + 0x7FFFF + (bits >> 20 & 1) >> 20) - 120 * 8);
    }

    /// <summary>Widens a row and multiplies it with the factors of its squares.</summary>
    /// <param name="source">One byte a value.</param>
    /// <param name="factors">One for each 128 values.</param>
    /// <param name="destination">As long as <paramref name="source"/>.</param>
    public static void Restore(ReadOnlySpan<byte> source, ReadOnlySpan<float> factors, Span<float> destination)
    {
        for (int start = 0; start < source.Length; start += ElementTypes.SquareLength)
        {
            float factor = factors[start / ElementTypes.SquareLength];
            int end = Math.Min(source.Length, start + ElementTypes.SquareLength), i = start;
            for (; i <= end - 16; i += 16)
                (ToSingle(Vector128.Create(source[i..])) * factor).CopyTo(destination[i..]);
            for (; i < end; i++)
                destination[i] = ToSingle(source[i]) * factor;
        }
    }

    /// <summary>Quantises up to 128 rows: each square's factor is its largest magnitude / 448.</summary>
    /// <param name="source">Row-major values.</param>
    /// <param name="columns">Values in a row.</param>
    /// <param name="destination">One byte a value.</param>
    /// <param name="factors">One for each 128 columns.</param>
    public static void Quantise(ReadOnlySpan<float> source, int columns, Span<byte> destination, Span<float> factors)
    {
        for (int start = 0; start < columns; start += ElementTypes.SquareLength)
        {
            int width = Math.Min(ElementTypes.SquareLength, columns - start);
            float largest = 0;
            for (int at = start; at < source.Length; at += columns)
                foreach (float value in source.Slice(at, width))
                    largest = MathF.Max(largest, MathF.Abs(value));
            float factor = largest == 0 ? 1 : largest / Largest;
            factors[start / ElementTypes.SquareLength] = factor;
            for (int at = start; at < source.Length; at += columns)
                for (int i = at; i < at + width; i++)
                    destination[i] = FromSingle(source[i] / factor);
        }
    }
}
