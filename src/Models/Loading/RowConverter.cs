using XDeepServe.Kernels;

namespace XDeepServe.Models.Loading;

/// <summary>Converts the rows of tensors to stored types, some at a time on all cores, and keeps account of the errors.</summary>
/// <param name="options">What to convert to.</param>
/// <param name="cancellation">Stops the work.</param>
internal sealed class RowConverter(ConversionOptions options, CancellationToken cancellation)
{
    private const int Band = ElementTypes.SquareLength; // rows that are converted at a time
    private readonly Lock gate = new();
    private double squares, squaredErrors;

    /// <summary>See <see cref="ConversionReport.LargestError"/>.</summary>
    public double LargestError { get; private set; }

    /// <summary>See <see cref="ConversionReport.RelativeError"/>.</summary>
    public double RelativeError => squares == 0 ? 0 : Math.Sqrt(squaredErrors / squares);

    /// <summary>A row of a tensor as singles, smoothed.</summary>
    public void Read(StoredTensor tensor, int row, Span<float> values)
    {
        tensor.Read(row, values);
        options.Smoothing?.Apply(tensor, row, values);
    }

    /// <summary>Writes a tensor in a type.</summary>
    /// <param name="stream">Receives the rows.</param>
    /// <param name="tensor">The source.</param>
    /// <param name="type">The type to write.</param>
    /// <param name="factors">Receives the factors beside the values, for F8 and I8.</param>
    public void Write(Stream stream, StoredTensor tensor, ElementType type, Span<float> factors = default) =>
        Write(stream, tensor.Rows, tensor.Columns, (row, values) => Read(tensor, row, values), type, factors);

    /// <summary>Writes rows that are made one by one.</summary>
    /// <param name="stream">Receives the rows.</param>
    /// <param name="rows">Number of rows.</param>
    /// <param name="columns">Values in a row.</param>
    /// <param name="read">Makes a row; called on several threads.</param>
    /// <param name="type">The type to write.</param>
    /// <param name="factors">Receives the factors beside the values, for F8 and I8.</param>
    public void Write(Stream stream, int rows, int columns, RowReader read, ElementType type, Span<float> factors = default)
    {
        int rowBytes = (int)type.Bytes(columns);
        byte[] stored = new byte[Band * rowBytes];
        float[] values = new float[Band * columns], back = new float[Band * columns];
        for (int first = 0; first < rows; first += Band)
        {
            cancellation.ThrowIfCancellationRequested();
            int height = Math.Min(Band, rows - first), start = first;
            Parallel.For(0, height, row => read(start + row, values.AsSpan(row * columns, columns)));
            (long at, int perRow) = type.FactorsOf(first, columns);
            float[] bandFactors = new float[type.Factors(height, columns)];
            if (type == ElementType.F8)
                Float8.Quantise(values.AsSpan(0, height * columns), columns, stored, bandFactors);
            Parallel.For(0, height, row =>
            {
                Span<byte> bytes = stored.AsSpan(row * rowBytes, rowBytes);
                Span<float> of = type == ElementType.F8 ? bandFactors : bandFactors.AsSpan(row * perRow, perRow);
                if (type != ElementType.F8)
                    Quantization.Store(type, values.AsSpan(row * columns, columns), bytes, of);
                Quantization.Restore(type, bytes, back.AsSpan(row * columns, columns), of);
                Account(values.AsSpan(row * columns, columns), back.AsSpan(row * columns, columns));
            });
            if (bandFactors.Length > 0)
                bandFactors.CopyTo(factors[(int)at..]);
            stream.Write(stored, 0, height * rowBytes);
        }
    }

    private void Account(ReadOnlySpan<float> values, ReadOnlySpan<float> back)
    {
        double sum = 0, errors = 0;
        float largest = 0, worst = 0;
        for (int i = 0; i < values.Length; i++)
        {
            float error = values[i] - back[i];
            sum += (double)values[i] * values[i];
            errors += (double)error * error;
            largest = MathF.Max(largest, MathF.Abs(values[i]));
            worst = MathF.Max(worst, MathF.Abs(error));
        }
        lock (gate)
        {
            squares += sum;
            squaredErrors += errors;
            if (largest > 0)
                LargestError = Math.Max(LargestError, worst / largest);
        }
    }
}

/// <summary>Makes a row.</summary>
/// <param name="row">Which.</param>
/// <param name="values">Receives it.</param>
internal delegate void RowReader(int row, Span<float> values);
