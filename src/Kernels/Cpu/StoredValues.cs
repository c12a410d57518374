using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace XDeepServe.Kernels.Cpu;

/// <summary>A row of stored values, read as singles: weights or cached keys and values.</summary>
internal unsafe interface IStoredValues
{
    /// <summary>Bytes of one value.</summary>
    static abstract int Bytes { get; }

    /// <summary>Sixteen values from a column on.</summary>
    static abstract Vector512<float> Load(byte* row, int column);

    /// <summary>One value.</summary>
    static abstract float One(byte* row, int column);
}

/// <summary>Values stored as F32.</summary>
internal readonly unsafe struct SingleValues : IStoredValues
{
    /// <inheritdoc/>
    public static int Bytes => sizeof(float);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* row, int column) => Vector512.Load((float*)row + column);

    /// <inheritdoc/>
    public static float One(byte* row, int column) => ((float*)row)[column];
}

/// <summary>Values stored as BF16.</summary>
internal readonly unsafe struct BFloat16Values : IStoredValues
{
    /// <inheritdoc/>
    public static int Bytes => sizeof(ushort);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* row, int column) =>
        (Widening.Words(Vector256.Load((ushort*)row + column)) << 16).AsSingle();

    /// <inheritdoc/>
    public static float One(byte* row, int column) => BFloat16.ToSingle(((ushort*)row)[column]);
}

/// <summary>Values stored as F16.</summary>
internal readonly unsafe struct HalfValues : IStoredValues
{
    /// <inheritdoc/>
    public static int Bytes => sizeof(ushort);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* row, int column) => Widening.Halves(Vector256.Load((ushort*)row + column));

    /// <inheritdoc/>
    public static float One(byte* row, int column) => (float)((Half*)row)[column];
}
