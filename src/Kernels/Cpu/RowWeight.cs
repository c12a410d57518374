namespace XDeepServe.Kernels.Cpu;

/// <summary>A weight in F32, F16, BF16 or F8, row by row: where it lies in the mapped file, or converted copies.</summary>
internal sealed unsafe class RowWeight : Weight
{
    private const int RowsPerPart = 64;
    private readonly SourceRows rows;
    private readonly NativeBlock? copy;

    private RowWeight(WeightSource source, NativeBlock? copy)
        : base(source.Type, source.Groups, source.Rows, source.Columns)
    {
        rows = new SourceRows(source);
        this.copy = copy;
    }

    /// <summary>Uses the rows where they are if they have the target type, else converts them to F32 or F8 once, in parallel.</summary>
    public static RowWeight Take(WeightSource source, ElementType target, WorkerPool pool)
    {
        if (source.Type == target)
            return new RowWeight(source, null);
        SourceRows rows = new(source);
        long bytes = target.Bytes((long)source.TotalRows * source.Columns);
        // The factors of each group lie behind the values, so that no square crosses a group.
        long factors = target.Factors(source.Rows, source.Columns);
        NativeBlock copy = new(bytes + 64 + source.Groups * factors * sizeof(float));
        byte* factorStart = copy.Start + (bytes + 63) / 64 * 64;
        if (target == ElementType.F8)
        {
            int bands = (source.Rows + ElementTypes.SquareLength - 1) / ElementTypes.SquareLength;
            pool.Run(source.Groups * bands, new Rounding(rows, source, copy.Start, (float*)factorStart, bands));
        }
        else
        {
            pool.Run((source.TotalRows + RowsPerPart - 1) / RowsPerPart, new Widening(rows, copy.Start, source.TotalRows, source.Columns));
        }
        rows.Drop();
        long groupBytes = target.Bytes((long)source.Rows * source.Columns);
        WeightPiece[] pieces = [.. Enumerable.Range(0, source.Groups).Select(group => new WeightPiece(
            (nint)(copy.Start + group * groupBytes), source.Rows, null, factors == 0 ? 0 : (nint)(factorStart + group * factors * sizeof(float))))];
        return new RowWeight(source with { Type = target, Pieces = pieces }, copy);
    }

    /// <summary>First byte of a row, counted over all groups.</summary>
    public byte* Row(int row) => rows[row];

    /// <summary>Rows from a row on that lie one behind the other: <paramref name="count"/>, at most <paramref name="most"/>.</summary>
    public KeyRun Run(int row, int most, out int count) => rows.Run(row, most, out count);

    /// <summary>The factors of a row's squares; null if the type has none.</summary>
    public float* Factors(int row) => rows.Factors(row);

    /// <summary>A row as singles.</summary>
    public void Restore(int row, float* values) => rows.Restore(row, values);

    /// <summary>Takes another weight's rows for a matrix: copies where these are copies, else uses them where they are.</summary>
    public void Replace(int group, RowWeight source, int from)
    {
        if (copy is null != source.copy is null)
            throw new ArgumentException("One weight lies in a file and the other does not: load both alike.", nameof(source));
        if (copy is null)
        {
            rows.Replace(group, source.rows, from, Rows);
            return;
        }
        long bytes = Type.Bytes((long)Rows * Columns), factors = Type.Factors(Rows, Columns) * sizeof(float);
        Buffer.MemoryCopy(source.Row(from * Rows), Row(group * Rows), bytes, bytes);
        if (factors > 0)
            Buffer.MemoryCopy(source.Factors(from * Rows), Factors(group * Rows), factors, factors);
    }

    /// <inheritdoc/>
    protected override void Release() => copy?.Dispose();

    private readonly struct Widening(SourceRows rows, byte* target, int total, int columns) : IPoolWork
    {
        public void Execute(int part, int worker)
        {
            for (int row = part * RowsPerPart; row < Math.Min(total, (part + 1) * RowsPerPart); row++)
                rows.Restore(row, (float*)target + (long)row * columns);
        }
    }

    private readonly struct Rounding(SourceRows rows, WeightSource source, byte* target, float* factors, int bands) : IPoolWork
    {
        public void Execute(int part, int worker)
        {
            int group = part / bands, first = part % bands * ElementTypes.SquareLength, columns = source.Columns;
            int height = Math.Min(ElementTypes.SquareLength, source.Rows - first);
            float[] values = new float[height * columns];
            fixed (float* start = values)
                for (int i = 0; i < height; i++)
                    rows.Restore(group * source.Rows + first + i, start + (long)i * columns);
            (long at, int count) = ElementType.F8.FactorsOf(first, columns);
            Float8.Quantise(
                values, columns, new Span<byte>(target + ((long)group * source.Rows + first) * columns, values.Length),
                new Span<float>(factors + group * ElementType.F8.Factors(source.Rows, columns) + at, count));
        }
    }
}
