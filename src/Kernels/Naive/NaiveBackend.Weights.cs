namespace XDeepServe.Kernels.Naive;

public sealed unsafe partial class NaiveBackend
{
    /// <inheritdoc/>
    public override Weight Prepare(WeightSource source, ElementType target)
    {
        int columns = source.Columns, rowBytes = (int)source.Type.Bytes(columns);
        float[] values = new float[(long)source.TotalRows * columns];
        int at = 0;
        foreach (WeightPiece piece in source.Pieces)
        {
            for (int row = 0; row < piece.Rows; row++, at += columns)
            {
                (long first, int count) = source.Type.FactorsOf(row, columns);
                Quantization.Restore(
                    source.Type, new ReadOnlySpan<byte>((byte*)piece.Address + (long)row * rowBytes, rowBytes), values.AsSpan(at, columns),
                    new ReadOnlySpan<float>((float*)piece.Factors + first, count));
            }
        }
        if (!target.Fits(columns) || !Quantization.CanStore(target))
            target = source.Type;
        if (target != source.Type && !target.IsPlain())
            Round(values, source, target);
        // Rows that are no multiple of 32 are multiplied as singles: see CpuBackend.
        if (target == ElementType.I8 && columns % ElementTypes.BlockLength != 0)
            target = ElementType.F32;
        return new NaiveWeight(target, source.Groups, source.Rows, source.Columns, values);
    }

    /// <inheritdoc/>
    public override Backend Beside() => new NaiveBackend();

    /// <inheritdoc/>
    public override void Replace(Weight weight, int group, Weight source, int from)
    {
        CheckAlike(weight, group, source, from);
        ((NaiveWeight)source).Group(from).CopyTo(((NaiveWeight)weight).Group(group));
    }

    /// <summary>An input row as a product sees it: rounded to signed bytes, with one factor, where the weight is I8.</summary>
    private static ReadOnlySpan<float> Input(ReadOnlySpan<float> row, ElementType type)
    {
        if (type != ElementType.I8)
            return row;
        sbyte[] bytes = new sbyte[row.Length];
        float factor = Quantization.ToBytes(row, bytes);
        return Array.ConvertAll(bytes, value => value * factor);
    }

    /// <summary>Rounds values to what the target type can hold.</summary>
    private static void Round(float[] values, WeightSource source, ElementType target)
    {
        int height = target == ElementType.F8 ? ElementTypes.SquareLength : 1, columns = source.Columns;
        byte[] stored = new byte[target.Bytes((long)height * columns)];
        float[] factors = new float[Math.Max(1, target.Factors(height, columns))];
        for (int group = 0; group < source.Groups; group++)
        {
            for (int row = 0; row < source.Rows; row += height)
            {
                Span<float> band = values.AsSpan((group * source.Rows + row) * columns, Math.Min(height, source.Rows - row) * columns);
                if (target == ElementType.F8)
                    Float8.Quantise(band, columns, stored, factors);
                else
                    Quantization.Store(target, band, stored, factors);
                for (int at = 0; at < band.Length; at += columns)
                    Quantization.Restore(target, stored.AsSpan((int)target.Bytes(at), (int)target.Bytes(columns)), band.Slice(at, columns), factors);
            }
        }
    }
}
