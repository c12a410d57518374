using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using XDeepServe.Kernels;
using XDeepServe.Xccl.Memory;
using XDeepServe.Xccl.Regions;

namespace XDeepServe.Xccl.Tokens;

/// <summary>
/// How a row is stored where it is computed and on the way, and the ways between; quantising is part of the one copy into the
/// block. A row on the way starts on a cache line; a scale stands behind the values.
/// </summary>
/// <param name="element">The callers' rows.</param>
/// <param name="wire">Rows on the way.</param>
/// <param name="hidden">Values of a row.</param>
internal readonly unsafe struct RowFormat(WireType element, WireType wire, int hidden)
{
    private const int Lanes = 16;
    private const int Tile = 256;
    private const float Largest = 127;

    public WireType Wire => wire;

    public int Hidden => hidden;

    public int ElementBytes => hidden * Size(element);

    /// <summary>Bytes from one row on the way to the next.</summary>
    public int WireBytes => (ScalePlace + (wire == WireType.I8 ? sizeof(float) : 0) + RegionLayout.FieldBytes - 1) / RegionLayout.FieldBytes * RegionLayout.FieldBytes;

    private int ScalePlace => wire == WireType.I8 ? (hidden + sizeof(float) - 1) / sizeof(float) * sizeof(float) : hidden * Size(wire);

    public static int Size(WireType type) => type switch { WireType.F32 => 4, WireType.BF16 => 2, _ => 1 };

    /// <summary>The scale of a row on the way; 1 where there is none.</summary>
    public float Scale(byte* wireRow) => wire == WireType.I8 ? *(float*)(wireRow + ScalePlace) : 1;

    /// <summary>A row is on the way as it is where it is computed.</summary>
    public bool IsPlain => wire == element;

    /// <summary>Writes a caller's row into a block.</summary>
    /// <param name="wireRow">Place in the block.</param>
    /// <param name="row">The caller's row.</param>
    /// <param name="stream">The block is too large for the cache.</param>
    public void Encode(byte* wireRow, byte* row, bool stream)
    {
        if (wire == element && stream)
            BlockCopy.Stream(wireRow, row, ElementBytes);
        else if (wire == element)
            BlockCopy.Run(wireRow, row, ElementBytes);
        else if (wire == WireType.I8 && element == WireType.F32)
            Quantise<SingleRow>(wireRow, row);
        else if (wire == WireType.I8)
            Quantise<HalvedRow>(wireRow, row);
        else if (wire == WireType.BF16)
            BFloat16.FromSingle(new ReadOnlySpan<float>(row, hidden), new Span<ushort>(wireRow, hidden));
        else
            BFloat16.ToSingle(new ReadOnlySpan<ushort>(row, hidden), new Span<float>(wireRow, hidden));
    }

    /// <summary>Restores a caller's row from a block.</summary>
    public void Decode(byte* row, byte* wireRow)
    {
        if (wire == element)
            BlockCopy.Run(row, wireRow, ElementBytes);
        else if (wire == WireType.I8 && element == WireType.F32)
            Restore((float*)row, wireRow, 0, hidden);
        else if (wire == WireType.I8)
            RestoreHalves((ushort*)row, wireRow);
        else if (wire == WireType.BF16)
            BFloat16.ToSingle(new ReadOnlySpan<ushort>(wireRow, hidden), new Span<float>(row, hidden));
        else
            BFloat16.FromSingle(new ReadOnlySpan<float>(wireRow, hidden), new Span<ushort>(row, hidden));
    }

    /// <summary>
    /// Per-token quantisation: scale = largest magnitude / 127, rounded to the nearest, ties to even. Infinity or NaN anywhere
    /// makes the whole row NaN: eight bits cannot say where it was, and it must not arrive as a number. A row whose inverse scale
    /// is too large for a single (below 4e-37) becomes zero.
    /// </summary>
    private void Quantise<TRow>(byte* wireRow, byte* row)
        where TRow : IRowType
    {
        // Magnitudes order as their bits do, and infinity and NaN come after all numbers: none gets lost in a maximum.
        Vector512<int> most = Vector512<int>.Zero;
        int index = 0;
        for (; index <= hidden - Lanes; index += Lanes)
            most = Vector512.Max(most, Vector512.Abs(TRow.Load(row, index)).AsInt32());
        int mostBits = 0;
        for (int lane = 0; lane < Lanes; lane++)
            mostBits = Math.Max(mostBits, most[lane]);
        for (; index < hidden; index++)
            mostBits = Math.Max(mostBits, BitConverter.SingleToInt32Bits(MathF.Abs(TRow.LoadOne(row, index))));
        float largest = BitConverter.Int32BitsToSingle(mostBits), inverse = Largest / largest;
        *(float*)(wireRow + ScalePlace) = float.IsFinite(largest) ? largest / Largest : float.NaN;
        if (!float.IsFinite(largest) || !float.IsFinite(inverse))
        {
            new Span<byte>(wireRow, hidden).Clear();
            return;
        }
        Vector512<float> inverses = Vector512.Create(inverse);
        sbyte* values = (sbyte*)wireRow;
        for (index = 0; index <= hidden - Lanes; index += Lanes)
        {
            Vector512<float> scaled = TRow.Load(row, index) * inverses;
            if (Avx512F.IsSupported)
            {
                Avx512F.ConvertToVector128SByteWithSaturation(Avx512F.ConvertToVector512Int32(scaled)).Store(values + index);
                continue;
            }
            Vector512<int> rounded = Vector512.ConvertToInt32(Vector512.Round(scaled));
            Vector128.Narrow(Vector128.Narrow(rounded.GetLower().GetLower(), rounded.GetLower().GetUpper()), Vector128.Narrow(rounded.GetUpper().GetLower(), rounded.GetUpper().GetUpper())).Store(values + index);
        }
        for (; index < hidden; index++)
            values[index] = (sbyte)MathF.Round(TRow.LoadOne(row, index) * inverse);
    }

    private void Restore(float* row, byte* wireRow, int start, int count)
    {
        float scale = Scale(wireRow);
        Vector512<float> scales = Vector512.Create(scale);
        int index = 0;
        for (; index <= count - Lanes; index += Lanes)
            (ByteRow.Load(wireRow, start + index) * scales).Store(row + index);
        for (; index < count; index++)
            row[index] = ByteRow.LoadOne(wireRow, start + index) * scale;
    }

    private void RestoreHalves(ushort* row, byte* wireRow)
    {
        float* tile = stackalloc float[Tile];
        for (int start = 0; start < hidden; start += Tile)
        {
            int count = Math.Min(Tile, hidden - start);
            Restore(tile, wireRow, start, count);
            BFloat16.FromSingle(new ReadOnlySpan<float>(tile, count), new Span<ushort>(row + start, count));
        }
    }
}
