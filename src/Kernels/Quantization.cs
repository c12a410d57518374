using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace XDeepServe.Kernels;

/// <summary>Conversions between singles and every stored type.</summary>
public static partial class Quantization
{
    /// <summary>
    /// Quantises to 8-bit blocks as GGUF's reference does: scale = largest magnitude / 127, stored in half precision;
    /// values are divided by the scale before that rounding and rounded to the nearest, halves away from zero.
    /// </summary>
    /// <param name="source">Values; a multiple of 32.</param>
    /// <param name="destination">34 bytes for each 32 values.</param>
    public static void ToQ8_0(ReadOnlySpan<float> source, Span<byte> destination)
    {
        Check(ElementType.Q8_0, source.Length, destination.Length);
        for (int start = 0; start < source.Length; start += ElementTypes.BlockLength)
        {
            ref float values = ref Unsafe.AsRef(in source[start]);
            Span<byte> block = destination.Slice(start / ElementTypes.BlockLength * ElementTypes.BlockBytes, ElementTypes.BlockBytes);
            Vector256<float> v0 = Vector256.LoadUnsafe(ref values);
            Vector256<float> v1 = Vector256.LoadUnsafe(ref values, 8);
            Vector256<float> v2 = Vector256.LoadUnsafe(ref values, 16);
            Vector256<float> v3 = Vector256.LoadUnsafe(ref values, 24);
            Vector256<float> largest = Vector256.Max(
                Vector256.Max(Vector256.Abs(v0), Vector256.Abs(v1)), Vector256.Max(Vector256.Abs(v2), Vector256.Abs(v3)));
            float amax = 0;
            for (int lane = 0; lane < Vector256<float>.Count; lane++)
                amax = MathF.Max(amax, largest[lane]);
            float scale = amax / 127f;
            float inverse = scale == 0 ? 0 : 1 / scale;
            BinaryPrimitives.WriteHalfLittleEndian(block, (Half)scale);
            ref byte bytes = ref block[2];
            Vector256<short> lower = Vector256.Narrow(RoundAway(v0 * inverse), RoundAway(v1 * inverse));
            Vector256<short> upper = Vector256.Narrow(RoundAway(v2 * inverse), RoundAway(v3 * inverse));
            Vector256.Narrow(lower, upper).AsByte().StoreUnsafe(ref bytes);
        }
    }

    /// <summary>Restores values from 8-bit blocks.</summary>
    /// <param name="source">34 bytes for each 32 values.</param>
    /// <param name="destination">Values; a multiple of 32.</param>
    public static void FromQ8_0(ReadOnlySpan<byte> source, Span<float> destination)
    {
        Check(ElementType.Q8_0, destination.Length, source.Length);
        for (int start = 0; start < destination.Length; start += ElementTypes.BlockLength)
        {
            ReadOnlySpan<byte> block = source.Slice(start / ElementTypes.BlockLength * ElementTypes.BlockBytes, ElementTypes.BlockBytes);
            float scale = (float)BinaryPrimitives.ReadHalfLittleEndian(block);
            ref sbyte bytes = ref Unsafe.As<byte, sbyte>(ref Unsafe.AsRef(in block[2]));
            (Vector256<short> lower, Vector256<short> upper) = Vector256.Widen(Vector256.LoadUnsafe(ref bytes));
            Restore(lower, scale, ref destination[start]);
            Restore(upper, scale, ref destination[start + 16]);
        }
    }

    /// <summary>Widens half-precision values; exact.</summary>
    /// <param name="source">Half-precision values.</param>
    /// <param name="destination">At least as long.</param>
    public static void ToSingle(ReadOnlySpan<Half> source, Span<float> destination)
    {
        destination = destination[..source.Length];
        ref ushort from = ref Unsafe.As<Half, ushort>(ref MemoryMarshal.GetReference(source));
        ref float to = ref MemoryMarshal.GetReference(destination);
        int index = 0;
        for (; index <= source.Length - Vector256<ushort>.Count; index += Vector256<ushort>.Count)
        {
            Widening.Halves(Vector256.LoadUnsafe(ref from, (nuint)index)).StoreUnsafe(ref to, (nuint)index);
        }
        for (; index < source.Length; index++)
            destination[index] = (float)source[index];
    }

    /// <summary>Rounds to half precision, to the nearest, ties to even; too large becomes infinite.</summary>
    /// <param name="source">Singles.</param>
    /// <param name="destination">At least as long.</param>
    public static void ToHalf(ReadOnlySpan<float> source, Span<Half> destination)
    {
        destination = destination[..source.Length];
        ref float from = ref MemoryMarshal.GetReference(source);
        ref ushort to = ref Unsafe.As<Half, ushort>(ref MemoryMarshal.GetReference(destination));
        int index = 0;
        for (; index <= source.Length - Vector256<ushort>.Count; index += Vector256<ushort>.Count)
        {
            Vector256<uint> lower = Narrow(Vector256.LoadUnsafe(ref from, (nuint)index));
            Vector256<uint> upper = Narrow(Vector256.LoadUnsafe(ref from, (nuint)(index + 8)));
            Vector256.Narrow(lower, upper).StoreUnsafe(ref to, (nuint)index);
        }
        for (; index < source.Length; index++)
            destination[index] = (Half)source[index];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Narrow(Vector256<float> values)
    {
        Vector256<uint> bits = values.AsUInt32();
        Vector256<uint> magnitude = bits & Vector256.Create(0x7FFFFFFFu);
        Vector256<uint> sign = (bits >> 16) & Vector256.Create(0x8000u);
        // Below 2^-14: adding 0.5 lets the adder shift and round, and leaves the subnormal's bits at the bottom.
        Vector256<uint> half = Vector256.Create(0x3F000000u);
        Vector256<uint> small = (magnitude.AsSingle() + half.AsSingle()).AsUInt32() - half;
        Vector256<uint> odd = (magnitude >> 13) & Vector256<uint>.One;
        Vector256<uint> normal = (magnitude - Vector256.Create(0x38000000u) + Vector256.Create(0xFFFu) + odd) >> 13;
        Vector256<uint> nan = Vector256.Create(0x7E00u) | ((magnitude >> 13) & Vector256.Create(0x3FFu));
        Vector256<uint> special = Vector256.ConditionalSelect(
            Vector256.GreaterThan(magnitude, Vector256.Create(0x7F800000u)), nan, Vector256.Create(0x7C00u));
        Vector256<uint> result = Vector256.ConditionalSelect(Vector256.LessThan(magnitude, Vector256.Create(0x38800000u)), small, normal);
        return sign | Vector256.ConditionalSelect(Vector256.LessThan(magnitude, Vector256.Create(0x47800000u)), result, special);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> RoundAway(Vector256<float> values)
    {
        Vector256<float> whole = Vector256.Truncate(values);
        Vector256<float> rest = values - whole; // exact
        Vector256<float> step = Vector256.CopySign(Vector256<float>.One, values);
        Vector256<float> away = Vector256.ConditionalSelect(
            Vector256.GreaterThanOrEqual(Vector256.Abs(rest), Vector256.Create(0.5f)), whole + step, whole);
        return Vector256.ConvertToInt32(away);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Restore(Vector256<short> values, float scale, ref float destination)
    {
        (Vector256<int> lower, Vector256<int> upper) = Vector256.Widen(values);
        (Vector256.ConvertToSingle(lower) * scale).StoreUnsafe(ref destination);
        (Vector256.ConvertToSingle(upper) * scale).StoreUnsafe(ref destination, 8);
    }
}
