using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace XDeepServe.Kernels;

/// <summary>Sixteen small values, each in a 32-bit lane of its own.</summary>
internal static class Widening
{
    /// <summary>Sixteen 16-bit values, zero-extended.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Words(Vector256<ushort> values)
    {
        if (Avx512F.IsSupported)
            return Avx512F.ConvertToVector512UInt32(values); // one instruction; the portable form costs six
        (Vector256<uint> low, Vector256<uint> high) = Vector256.Widen(values);
        return Vector512.Create(low, high);
    }

    /// <summary>Sixteen bytes, zero-extended.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Bytes(Vector128<byte> values)
    {
        if (Avx512F.IsSupported)
            return Avx512F.ConvertToVector512UInt32(values);
        (Vector128<ushort> low, Vector128<ushort> high) = Vector128.Widen(values);
        return Words(Vector256.Create(low, high));
    }

    /// <summary>Sixteen bytes, sign-extended.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Signed(Vector128<sbyte> values)
    {
        if (Avx512F.IsSupported)
            return Avx512F.ConvertToVector512Int32(values);
        (Vector128<short> low, Vector128<short> high) = Vector128.Widen(values);
        (Vector256<int> lower, Vector256<int> upper) = Vector256.Widen(Vector256.Create(low, high));
        return Vector512.Create(lower, upper);
    }

    /// <summary>Sixteen half-precision values; exact.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Halves(Vector256<ushort> values)
    {
        Vector512<uint> half = Words(values);
        Vector512<uint> magnitude = half & Vector512.Create(0x7FFFu);
        // Multiplying by 2^112 moves the exponent's bias and makes subnormal values normal, exactly.
        Vector512<uint> finite = ((magnitude << 13).AsSingle() * BitConverter.UInt32BitsToSingle(0x77800000)).AsUInt32();
        Vector512<uint> special = Vector512.Create(0x7F800000u) | (magnitude << 13);
        Vector512<uint> wide = Vector512.ConditionalSelect(Vector512.LessThan(magnitude, Vector512.Create(0x7C00u)), finite, special);
        return ((half & Vector512.Create(0x8000u)) << 16 | wide).AsSingle();
    }
}
