using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace XDeepServe.Kernels.Cpu;

/// <summary>A row and the factors of its squares, if it has any.</summary>
internal readonly unsafe struct StoredRow(byte* values, float* factors)
{
    /// <summary>First value.</summary>
    public byte* Values => values;

    /// <summary>One for each 128 columns; null if there are none.</summary>
    public float* Factors => factors;
}

/// <summary>A row of stored values, with their factors, read as singles.</summary>
internal unsafe interface IRowValues
{
    /// <summary>Sixteen values from a column on.</summary>
    static abstract Vector512<float> Load(StoredRow row, int column);

    /// <summary>One value.</summary>
    static abstract float One(StoredRow row, int column);
}

/// <summary>Values without factors.</summary>
internal readonly unsafe struct Plain<TStored> : IRowValues where TStored : struct, IStoredValues
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(StoredRow row, int column) => TStored.Load(row.Values, column);

    /// <inheritdoc/>
    public static float One(StoredRow row, int column) => TStored.One(row.Values, column);
}

/// <summary>8-bit floats and the factors of their squares.</summary>
internal readonly unsafe struct Float8Values : IRowValues
{
    /// <inheritdoc/>
    // Sixteen columns never cross a square: both begin at multiples of sixteen.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(StoredRow row, int column) =>
        Float8.ToSingle(Vector128.Load(row.Values + column)) * row.Factors[column / ElementTypes.SquareLength];

    /// <inheritdoc/>
    public static float One(StoredRow row, int column) =>
        Float8.ToSingle(row.Values[column]) * row.Factors[column / ElementTypes.SquareLength];
}
