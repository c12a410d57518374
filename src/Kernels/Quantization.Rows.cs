using System.Runtime.InteropServices;

namespace XDeepServe.Kernels;

public static partial class Quantization
{
    /// <summary>The largest integer of <see cref="ElementType.I8"/>.</summary>
    public const int LargestByte = 127;

    /// <summary>Whether values can be stored in a type; the others can only be read.</summary>
    public static bool CanStore(ElementType type) => type is not (ElementType.Q5_K or ElementType.Q6_K or ElementType.I32);

    /// <summary>
    /// The type for rows of this many values where <paramref name="type"/> was asked for: itself if they are whole blocks of it,
    /// else what llama.cpp falls back to: Q5_0 for Q4_K, then F16.
    /// </summary>
    public static ElementType Fitting(ElementType type, long columns) =>
        type.Fits(columns) ? type : type == ElementType.Q4_K && ElementType.Q5_0.Fits(columns) ? ElementType.Q5_0 : ElementType.F16;

    /// <summary>Restores whole rows or blocks as singles.</summary>
    /// <param name="type">Stored type.</param>
    /// <param name="source">Stored values. For F8 and I8 within one row.</param>
    /// <param name="destination">As many values.</param>
    /// <param name="factors">The row's factors (<see cref="ElementTypes.FactorsOf"/>).</param>
    /// <exception cref="ArgumentException">The type holds no real numbers, or the lengths do not fit together.</exception>
    public static void Restore(ElementType type, ReadOnlySpan<byte> source, Span<float> destination, ReadOnlySpan<float> factors = default)
    {
        Check(type, destination.Length, source.Length);
        source = source[..(int)type.Bytes(destination.Length)];
        switch (type)
        {
            case ElementType.F32: MemoryMarshal.Cast<byte, float>(source).CopyTo(destination); break;
            case ElementType.F16: ToSingle(MemoryMarshal.Cast<byte, Half>(source), destination); break;
            case ElementType.BF16: BFloat16.ToSingle(MemoryMarshal.Cast<byte, ushort>(source), destination); break;
            case ElementType.Q8_0: FromQ8_0(source, destination); break;
            case ElementType.F8: Float8.Restore(source, factors, destination); break;
            case ElementType.I8:
                for (int i = 0; i < source.Length; i++)
                    destination[i] = (sbyte)source[i] * factors[0];
                break;
            default:
                BlockLayout layout = BlockLayout.Of(type) ?? throw new ArgumentException($"{type} holds no real numbers.", nameof(type));
                for (int at = 0, to = 0; to < destination.Length; at += layout.Bytes, to += layout.Values)
                    layout.Restore(source.Slice(at, layout.Bytes), destination.Slice(to, layout.Values));
                break;
        }
    }

    /// <summary>Stores whole rows or blocks. F8 shares factors between rows: see <see cref="Float8.Quantise"/>.</summary>
    /// <param name="type">A type that can be written.</param>
    /// <param name="source">Values; for I8 one row.</param>
    /// <param name="destination">Receives the stored values.</param>
    /// <param name="factors">Receives the row's factor for I8.</param>
    /// <exception cref="ArgumentException">The type cannot be written, or the lengths do not fit together.</exception>
    public static void Store(ElementType type, ReadOnlySpan<float> source, Span<byte> destination, Span<float> factors = default)
    {
        Check(type, source.Length, destination.Length);
        switch (type)
        {
            case ElementType.F32: MemoryMarshal.AsBytes(source).CopyTo(destination); break;
            case ElementType.F16: ToHalf(source, MemoryMarshal.Cast<byte, Half>(destination)); break;
            case ElementType.BF16: BFloat16.FromSingle(source, MemoryMarshal.Cast<byte, ushort>(destination)); break;
            case ElementType.Q8_0: ToQ8_0(source, destination); break;
            case ElementType.I8: factors[0] = ToBytes(source, MemoryMarshal.Cast<byte, sbyte>(destination)); break;
            default:
                (int values, int bytes) = type.Block();
                for (int at = 0, to = 0; at < source.Length; at += values, to += bytes)
                    BlockWriter.Write(type, source.Slice(at, values), destination.Slice(to, bytes));
                break;
        }
    }

    /// <summary>Quantises a row to signed bytes: factor = largest magnitude / 127, rounded to the nearest, ties to even.</summary>
    /// <returns>The factor.</returns>
    public static float ToBytes(ReadOnlySpan<float> source, Span<sbyte> destination)
    {
        float largest = 0;
        foreach (float value in source)
            largest = MathF.Max(largest, MathF.Abs(value));
        float inverse = largest == 0 ? 0 : LargestByte / largest;
        for (int i = 0; i < source.Length; i++)
            destination[i] = (sbyte)MathF.Round(source[i] * inverse);
        return largest / LargestByte;
    }

    private static void Check(ElementType type, int values, int bytes)
    {
        if (!type.Fits(values) || bytes < type.Bytes(values))
            throw new ArgumentException($"{values} values of {type} need whole blocks of {type.Block().Values} and {type.Bytes(values)} bytes; {bytes} are given.");
    }
}
