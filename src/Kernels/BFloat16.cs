using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace XDeepServe.Kernels;

/// <summary>The upper half of a single: conversions, rounding to nearest even.</summary>
public static class BFloat16
{
    /// <summary>Widens one value; exact.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float ToSingle(ushort value) => BitConverter.UInt32BitsToSingle((uint)value << 16);

    /// <summary>Rounds one value to the nearest, ties to even; NaN stays NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort FromSingle(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        if (float.IsNaN(value))
            return (ushort)((bits >> 16) | 0x40);
        return (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    /// <summary>Widens values; exact.</summary>
    /// <param name="source">Upper halves.</param>
    /// <param name="destination">At least as long.</param>
    public static void ToSingle(ReadOnlySpan<ushort> source, Span<float> destination)
    {
        destination = destination[..source.Length];
        ref ushort from = ref MemoryMarshal.GetReference(source);
        ref uint to = ref Unsafe.As<float, uint>(ref MemoryMarshal.GetReference(destination));
        int index = 0;
        for (; index <= source.Length - Vector256<ushort>.Count; index += Vector256<ushort>.Count)
        {
            (Vector256<uint> lower, Vector256<uint> upper) = Vector256.Widen(Vector256.LoadUnsafe(ref from, (nuint)index));
            (lower << 16).StoreUnsafe(ref to, (nuint)index);
            (upper << 16).StoreUnsafe(ref to, (nuint)(index + Vector256<uint>.Count));
        }
        for (; index < source.Length; index++)
            destination[index] = ToSingle(source[index]);
    }

    /// <summary>Rounds values to the nearest, ties to even.</summary>
    /// <param name="source">Singles.</param>
    /// <param name="destination">At least as long.</param>
    public static void FromSingle(ReadOnlySpan<float> source, Span<ushort> destination)
    {
        destination = destination[..source.Length];
        ref float from = ref MemoryMarshal.GetReference(source);
        ref ushort to = ref MemoryMarshal.GetReference(destination);
        int index = 0;
        for (; index <= source.Length - Vector256<ushort>.Count; index += Vector256<ushort>.Count)
        {
            Vector256<uint> lower = Rounded(Vector256.LoadUnsafe(ref from, (nuint)index)) >> 16;
            Vector256<uint> upper = Rounded(Vector256.LoadUnsafe(ref from, (nuint)(index + Vector256<float>.Count))) >> 16;
            Vector256.Narrow(lower, upper).StoreUnsafe(ref to, (nuint)index);
        }
        for (; index < source.Length; index++)
            destination[index] = FromSingle(source[index]);
    }

    /// <summary>Rounds singles in place to values that a bfloat16 can hold.</summary>
    public static void Round(Span<float> values)
    {
        ref float first = ref MemoryMarshal.GetReference(values);
        int index = 0;
        for (; index <= values.Length - Vector256<float>.Count; index += Vector256<float>.Count)
        {
            Vector256<uint> rounded = Rounded(Vector256.LoadUnsafe(ref first, (nuint)index)) & Vector256.Create(0xFFFF0000);
            rounded.AsSingle().StoreUnsafe(ref first, (nuint)index);
        }
        for (; index < values.Length; index++)
            values[index] = ToSingle(FromSingle(values[index]));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Rounded(Vector256<float> values)
    {
        Vector256<uint> bits = values.AsUInt32();
        Vector256<uint> rounded = bits + Vector256.Create(0x7FFFu) + ((bits >> 16) & Vector256<uint>.One);
        return Vector256.ConditionalSelect(Vector256.Equals(values, values).AsUInt32(), rounded, bits | Vector256.Create(0x400000u));
    }
}
