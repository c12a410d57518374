namespace XDeepServe.Kernels.Cpu;

/// <summary>A weight in F32 or BF16, row by row: where it lies in the mapped file, or widened copies.</summary>
internal sealed unsafe class RowWeight : Weight
{
    private readonly SourceRows rows;
    private readonly NativeBlock? copy;

    private RowWeight(ElementType type, WeightSource described, SourceRows rows, NativeBlock? copy)
        : base(type, described.Groups, described.Rows, described.Columns)
    {
        this.rows = rows;
        this.copy = copy;
    }

    /// <summary>Uses the rows where they are if they have the target type, else widens them to singles once, in parallel.</summary>
    public static RowWeight Take(WeightSource source, ElementType target, WorkerPool pool)
    {
        SourceRows rows = new(source);
        if (source.Type == target)
            return new RowWeight(target, source, rows, null);
        NativeBlock copy = new((long)source.TotalRows * source.Columns * sizeof(float));
        const int RowsPerPart = 64;
        pool.Run((source.TotalRows + RowsPerPart - 1) / RowsPerPart, new Widening(rows, copy.Start, source.TotalRows, source.Columns, RowsPerPart));
        rows.Drop();
        WeightSource held = source with { Type = ElementType.F32, Pieces = [new WeightPiece((nint)copy.Start, source.TotalRows)] };
        return new RowWeight(ElementType.F32, held, new SourceRows(held), copy);
    }

    /// <summary>First byte of a row, counted over all groups.</summary>
    public byte* Row(int row) => rows[row];

    /// <summary>A row as singles.</summary>
    public void Restore(int row, float* values) => rows.Widen(row, values);

    /// <inheritdoc/>
    protected override void Release() => copy?.Dispose();

    private readonly struct Widening(SourceRows rows, byte* target, int total, int columns, int rowsPerPart) : IPoolWork
    {
        public void Execute(int part, int worker)
        {
            for (int row = part * rowsPerPart; row < Math.Min(total, (part + 1) * rowsPerPart); row++)
                rows.Widen(row, (float*)target + (long)row * columns);
        }
    }
}
