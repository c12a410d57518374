using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using XDeepServe.Kernels;

namespace XDeepServe.Xccl.Tokens;

/// <summary>How sixteen values of a row, or one, become singles. Loops are compiled once for each.</summary>
internal unsafe interface IRowType
{
    /// <summary>Values are to be multiplied with the row's scale.</summary>
    static abstract bool Scaled { get; }

    /// <summary>Sixteen values from an index on.</summary>
    static abstract Vector512<float> Load(byte* row, int index);

    /// <summary>One value.</summary>
    static abstract float LoadOne(byte* row, int index);
}

/// <summary>Singles.</summary>
internal readonly unsafe struct SingleRow : IRowType
{
    public static bool Scaled => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* row, int index) => Vector512.Load((float*)row + index);

    public static float LoadOne(byte* row, int index) => ((float*)row)[index];
}

/// <summary>Upper halves of singles.</summary>
internal readonly unsafe struct HalvedRow : IRowType
{
    public static bool Scaled => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* row, int index)
    {
        Vector256<ushort> values = Vector256.Load((ushort*)row + index);
        if (Avx512F.IsSupported)
            return Vector512.ShiftLeft(Avx512F.ConvertToVector512Int32(values), 16).AsSingle();
        (Vector256<uint> lower, Vector256<uint> upper) = Vector256.Widen(values);
        return Vector512.Create(lower << 16, upper << 16).AsSingle();
    }

    public static float LoadOne(byte* row, int index) => BFloat16.ToSingle(((ushort*)row)[index]);
}

/// <summary>Signed bytes, to be scaled.</summary>
internal readonly unsafe struct ByteRow : IRowType
{
    public static bool Scaled => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* row, int index)
    {
        Vector128<sbyte> values = Vector128.Load((sbyte*)row + index);
        if (Avx512F.IsSupported)
            return Avx512F.ConvertToVector512Single(Avx512F.ConvertToVector512Int32(values));
        (Vector128<short> lower, Vector128<short> upper) = Vector128.Widen(values);
        (Vector128<int> a, Vector128<int> b) = Vector128.Widen(lower);
        (Vector128<int> c, Vector128<int> d) = Vector128.Widen(upper);
        return Vector512.ConvertToSingle(Vector512.Create(Vector256.Create(a, b), Vector256.Create(c, d)));
    }

    public static float LoadOne(byte* row, int index) => ((sbyte*)row)[index];
}
