using System.Runtime.CompilerServices;

namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// The product with weights in F32, F16, BF16 or F8, row by row where they lie. Each result has one vector of partial sums of its own,
/// filled front to back, whatever tile it is in: the same bits in every batch.
/// </summary>
internal readonly unsafe struct RowProduct(ProductRows rows, RowWeight weight, Tensor input, Tensor output, int partsPerGroup) : IPoolWork
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute(int part, int worker)
    {
        int group = rows.Used[part / partsPerGroup];
        int slice = part % partsPerGroup;
        int first = (int)((long)weight.Rows * slice / partsPerGroup);
        int end = (int)((long)weight.Rows * (slice + 1) / partsPerGroup);
        SliceOf(group, first, end);
    }

    private void SliceOf(int group, int first, int end)
    {
        switch (weight.Type)
        {
            case ElementType.BF16: Slice<Plain<BFloat16Values>>(group, first, end); break;
            case ElementType.F16: Slice<Plain<HalfValues>>(group, first, end); break;
            case ElementType.F8: Slice<Float8Values>(group, first, end); break;
            default: Slice<Plain<SingleValues>>(group, first, end); break;
        }
    }

    private void Slice<TValues>(int group, int first, int end) where TValues : struct, IRowValues
    {
        const int Height = 4, Width = 4;
        float** inputs = stackalloc float*[Height];
        StoredRow* weights = stackalloc StoredRow[Width];
        float* results = stackalloc float[Height * Width];
        int last = rows.Starts[group + 1];
        for (int row = first; row < end; row += Width)
        {
            int width = Math.Min(Width, end - row);
            for (int i = 0; i < width; i++)
                weights[i] = new StoredRow(weight.Row(group * weight.Rows + row + i), weight.Factors(group * weight.Rows + row + i));
            for (int place = rows.Starts[group]; place < last; place += Height)
            {
                int height = Math.Min(Height, last - place);
                for (int lane = 0; lane < height; lane++)
                    inputs[lane] = (float*)input.Address + (long)rows.Input(place + lane) * input.Stride;
                if (width == Width && height == Height)
                    Dots.Block<TValues>(inputs, weights, weight.Columns, results);
                else
                    for (int lane = 0; lane < height; lane++)
                        if (width == Width)
                            Dots.Strip<TValues>(inputs[lane], weights, weight.Columns, results + lane * Width);
                        else
                            for (int i = 0; i < width; i++)
                                results[lane * Width + i] = Dots.One<TValues>(inputs[lane], weights[i], weight.Columns);
                for (int lane = 0; lane < height; lane++)
                    new ReadOnlySpan<float>(results + lane * Width, width).CopyTo(
                        new Span<float>((float*)output.Address + (long)rows.Output(place + lane) * output.Stride + row, width));
            }
        }
    }
}
