namespace XDeepServe.Kernels.Cpu;

/// <summary>Finds rows in the pieces of a weight source and converts them.</summary>
internal sealed unsafe class SourceRows
{
    private readonly WeightSource source;
    private readonly WeightPiece[] pieces;
    private readonly int[] starts; // [pieces] first row of each piece
    private readonly long rowBytes;

    /// <summary>Looks the pieces up once.</summary>
    public SourceRows(WeightSource source)
    {
        this.source = source;
        rowBytes = source.Type.Bytes(source.Columns);
        pieces = [.. source.Pieces];
        starts = new int[pieces.Length];
        for (int piece = 1; piece < starts.Length; piece++)
            starts[piece] = starts[piece - 1] + pieces[piece - 1].Rows;
    }

    /// <summary>First byte of a row.</summary>
    public byte* this[int row]
    {
        get
        {
            int piece = Piece(row);
            return (byte*)pieces[piece].Address + (row - starts[piece]) * rowBytes;
        }
    }

    /// <summary>Rows from a row on that lie one behind the other.</summary>
    /// <param name="row">The first, counted over all groups.</param>
    /// <param name="most">How many are wanted.</param>
    /// <param name="count">How many lie there.</param>
    public KeyRun Run(int row, int most, out int count)
    {
        int piece = Piece(row), within = row - starts[piece];
        count = Math.Min(most, pieces[piece].Rows - within);
        return new KeyRun(pieces[piece].Address + (nint)(within * rowBytes), rowBytes);
    }

    /// <summary>The factors of a row (<see cref="ElementTypes.FactorsOf"/>); null for types without any.</summary>
    public float* Factors(int row)
    {
        if (!source.Type.HasFactors())
            return null;
        int piece = Piece(row);
        return (float*)pieces[piece].Factors + source.Type.FactorsOf(row - starts[piece], source.Columns).First;
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
        foreach (WeightPiece piece in pieces)
            piece.File?.DropPages(piece.Address, piece.Rows * rowBytes);
    }

    /// <summary>Takes another source's pieces for one matrix. Nobody reads meanwhile.</summary>
    /// <param name="group">The matrix.</param>
    /// <param name="other">Whose pieces.</param>
    /// <param name="from">Its matrix.</param>
    /// <param name="height">Rows of a matrix.</param>
    /// <exception cref="ArgumentException">The matrices are not cut into pieces alike.</exception>
    public void Replace(int group, SourceRows other, int from, int height)
    {
        (int first, int end) = Cut(group, height);
        (int start, int stop) = other.Cut(from, height);
        bool alike = end - first == stop - start;
        for (int i = 0; alike && i < end - first; i++)
            alike = pieces[first + i].Rows == other.pieces[start + i].Rows;
        if (!alike)
            throw new ArgumentException("The two matrices lie in the file in pieces of different heights: neither can take the other's place.", nameof(other));
        Array.Copy(other.pieces, start, pieces, first, end - first);
    }

    /// <summary>The pieces of a matrix.</summary>
    private (int First, int End) Cut(int group, int height)
    {
        int first = Array.IndexOf(starts, group * height), end = Array.IndexOf(starts, (group + 1) * height);
        if (end < 0 && starts[^1] + pieces[^1].Rows == (group + 1) * height)
            end = pieces.Length;
        return first >= 0 && end > first ? (first, end) : throw new ArgumentException("A matrix shares a piece of the file with another: it cannot be replaced alone.");
    }

    private int Piece(int row)
    {
        int piece = Array.BinarySearch(starts, row);
        if (piece < 0)
            piece = ~piece - 1;
        while (pieces[piece].Rows == 0)
            piece++;
        return piece;
    }
}
