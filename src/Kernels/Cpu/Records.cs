using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace XDeepServe.Kernels.Cpu;

/// <summary>How a product finds the scales and integers of a record: 16 rows by 32 columns.</summary>
internal unsafe interface IRecord
{
    /// <summary>Bytes from one record to the next.</summary>
    static abstract int Bytes { get; }

    /// <summary>Byte of the first pair's integers.</summary>
    static abstract int WeightsAt { get; }

    /// <summary>2 if each half of the columns has scales of its own, else 1.</summary>
    static abstract int Parts { get; }

    /// <summary>Whether minimums are taken off.</summary>
    static abstract bool HasMinimums { get; }

    /// <summary>Scales of eight rows, from <paramref name="row"/> on.</summary>
    static abstract Vector256<float> Scales(byte* record, int part, int row);
}

/// <summary>Q8_0 as it is packed: half-precision scales.</summary>
internal readonly unsafe struct HalfRecord : IRecord
{
    public static int Bytes => TileLayout.Rows * sizeof(ushort) + TileLayout.WholeBytes;

    public static int WeightsAt => TileLayout.Rows * sizeof(ushort);

    public static int Parts => 1;

    public static bool HasMinimums => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Scales(byte* record, int part, int row)
    {
        (Vector128<uint> low, Vector128<uint> high) = Vector128.Widen(Vector128.Load((ushort*)record + row));
        Vector256<uint> half = Vector256.Create(low, high);
        Vector256<float> magnitude = ((half & Vector256.Create(0x7FFFu)) << 13).AsSingle() * BitConverter.UInt32BitsToSingle(0x77800000);
        return (magnitude.AsUInt32() | (half & Vector256.Create(0x8000u)) << 16).AsSingle();
    }
}

/// <summary>I8 as it is packed: no scales, rows are multiplied with theirs at the end.</summary>
internal readonly unsafe struct ByteRecord : IRecord
{
    public static int Bytes => TileLayout.WholeBytes;

    public static int WeightsAt => 0;

    public static int Parts => 1;

    public static bool HasMinimums => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Scales(byte* record, int part, int row) => Vector256<float>.One;
}

/// <summary>An expanded record with one scale a row.</summary>
internal readonly unsafe struct PlainRecord : IRecord
{
    public static int Bytes => Expansion.RecordBytes;

    public static int WeightsAt => Expansion.ScaleBytes;

    public static int Parts => 1;

    public static bool HasMinimums => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Scales(byte* record, int part, int row) => Vector256.Load((float*)record + row);
}

/// <summary>An expanded record with a scale and a minimum a row.</summary>
internal readonly unsafe struct OffsetRecord : IRecord
{
    public static int Bytes => Expansion.RecordBytes;

    public static int WeightsAt => Expansion.ScaleBytes;

    public static int Parts => 1;

    public static bool HasMinimums => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Scales(byte* record, int part, int row) => Vector256.Load((float*)record + row);
}

/// <summary>An expanded record with a scale a row for each half of its columns.</summary>
internal readonly unsafe struct SplitRecord : IRecord
{
    public static int Bytes => Expansion.RecordBytes;

    public static int WeightsAt => Expansion.ScaleBytes;

    public static int Parts => 2;

    public static bool HasMinimums => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Scales(byte* record, int part, int row) => Vector256.Load((float*)record + part * TileLayout.Rows + row);
}
