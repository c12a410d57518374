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
            int piece = Piece(row);
            return (byte*)source.Pieces[piece].Address + (row - starts[piece]) * rowBytes;
        }
    }

    /// <summary>The factors of a row (<see cref="ElementTypes.FactorsOf"/>); null for types without any.</summary>
    public float* Factors(int row)
    {
        if (!source.Type.HasFactors())
            return null;
        int piece = Piece(row);
        return (float*)source.Pieces[piece].Factors + source.Type.FactorsOf(row - starts[piece], source.Columns).First;
    }

    /// <summary>A row in another type: in place if it is stored so, else quantised into <paramref name="stored"/>.</summary>
    /// <param name="row">Row over all groups.</param>
    /// <param name="type">Type to have it in; not F8.</param>
    /// <param name="stored">Room for the row.</param>
    /// <param name="values">Room for the row as singles.</param>
    /// <param name="factor">The row's factor for I8.</param>
    public byte* In(ElementType type, int row, byte* stored, float* values, out float factor)
    {
        factor = 1;
        if (source.Type == type)
        {
            if (type == ElementType.I8)
                factor = *Factors(row);
            return this[row];
        }
        Restore(row, values);
        Quantization.Store(type, new ReadOnlySpan<float>(values, source.Columns), new Span<byte>(stored, (int)type.Bytes(source.Columns)), new Span<float>(ref factor));
        return stored;
    }

    /// <summary>A row as singles.</summary>
    public void Restore(int row, float* values) => Quantization.Restore(
        source.Type, new ReadOnlySpan<byte>(this[row], (int)rowBytes), new Span<float>(values, source.Columns),
        new ReadOnlySpan<float>(Factors(row), source.Type.FactorsOf(row, source.Columns).Count));

    /// <summary>Gives the pages of mapped files back, once the rows are held elsewhere.</summary>
    public void Drop()
    {
        foreach (WeightPiece piece in source.Pieces)
            piece.File?.DropPages(piece.Address, piece.Rows * rowBytes);
    }

    private int Piece(int row)
    {
        int piece = Array.BinarySearch(starts, row);
        if (piece < 0)
            piece = ~piece - 1;
        while (source.Pieces[piece].Rows == 0)
            piece++;
        return piece;
    }
}
