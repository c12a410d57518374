namespace XDeepServe.Kernels.Cpu;

/// <summary>Finds rows in the pieces of a weight source and converts them.</summary>
internal sealed unsafe class SourceRows
{
    private readonly WeightSource source;
    private readonly int[] starts; // [pieces] first row of each piece
    private readonly long rowBytes;

    /// <summary>Looks the pieces up once.</summary>
    public SourceRows(WeightSource source)
    {
        this.source = source;
        rowBytes = source.Type.Bytes(source.Columns);
        starts = new int[source.Pieces.Count];
        for (int piece = 1; piece < starts.Length; piece++)
            starts[piece] = starts[piece - 1] + source.Pieces[piece - 1].Rows;
    }

    /// <summary>First byte of a row.</summary>
    public byte* this[int row]
    {
        get
        {
            int piece = Array.BinarySearch(starts, row);
            if (piece < 0)
                piece = ~piece - 1;
            while (source.Pieces[piece].Rows == 0)
                piece++;
            return (byte*)source.Pieces[piece].Address + (row - starts[piece]) * rowBytes;
        }
    }

    /// <summary>A row as 8-bit blocks: in place if it is stored so, else quantised into <paramref name="blocks"/>.</summary>
    public byte* Blocks(int row, byte* blocks, float* values)
    {
        if (source.Type == ElementType.Q8_0)
            return this[row];
        Widen(row, values);
        Quantization.ToQ8_0(new ReadOnlySpan<float>(values, source.Columns), new Span<byte>(blocks, (int)ElementType.Q8_0.Bytes(source.Columns)));
        return blocks;
    }

    /// <summary>A row as singles.</summary>
    public void Widen(int row, float* values)
    {
        byte* from = this[row];
        Span<float> target = new(values, source.Columns);
        switch (source.Type)
        {
            case ElementType.F32: new ReadOnlySpan<float>(from, source.Columns).CopyTo(target); break;
            case ElementType.F16: Quantization.ToSingle(new ReadOnlySpan<Half>(from, source.Columns), target); break;
            case ElementType.BF16: BFloat16.ToSingle(new ReadOnlySpan<ushort>(from, source.Columns), target); break;
            case ElementType.Q8_0: Quantization.FromQ8_0(new ReadOnlySpan<byte>(from, (int)rowBytes), target); break;
            default: throw new InvalidOperationException($"A weight cannot be of {source.Type}.");
        }
    }

    /// <summary>Gives the pages of mapped files back, once the rows are held elsewhere.</summary>
    public void Drop()
    {
        foreach (WeightPiece piece in source.Pieces)
            piece.File?.DropPages(piece.Address, piece.Rows * rowBytes);
    }
}
