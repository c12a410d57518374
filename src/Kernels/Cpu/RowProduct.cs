using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// The product with weights in F32, F16, BF16 or F8, row by row where they lie. Each result has one vector of partial sums of its own,
/// filled front to back, whatever tile it is in: the same bits in every batch.
/// </summary>
internal readonly unsafe struct RowProduct(ProductRows rows, RowWeight weight, Tensor input, Tensor output, int partsPerGroup) : IPoolWork
{
    /// <inheritdoc/>
    public void Execute(int part, int worker)
    {
        int group = rows.Used[part / partsPerGroup];
        int slice = part % partsPerGroup;
        int first = (int)((long)weight.Rows * slice / partsPerGroup);
        int end = (int)((long)weight.Rows * (slice + 1) / partsPerGroup);
        SliceOf(group, first, end);
    }

    /// <summary>output = input · (rows from <paramref name="firstRow"/> on)ᵀ on the calling thread.</summary>
    public static void Multiply(Tensor input, RowWeight weight, int firstRow, Tensor output)
    {
        int* starts = stackalloc int[3] { 0, input.Rows, 0 };
        RowProduct product = new(new ProductRows(starts, starts + 2, null, 1, 1), weight, input, output with { Address = output.Address - firstRow * sizeof(float) }, 1);
        product.SliceOf(0, firstRow, firstRow + output.Columns);
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
        WeightRow* weights = stackalloc WeightRow[Width];
        float* results = stackalloc float[Height * Width];
        int last = rows.Starts[group + 1];
        for (int row = first; row < end; row += Width)
        {
            int width = Math.Min(Width, end - row);
            for (int i = 0; i < width; i++)
                weights[i] = new WeightRow(weight.Row(group * weight.Rows + row + i), weight.Factors(group * weight.Rows + row + i));
            for (int place = rows.Starts[group]; place < last; place += Height)
            {
                int height = Math.Min(Height, last - place);
                for (int lane = 0; lane < height; lane++)
                    inputs[lane] = (float*)input.Address + (long)rows.Input(place + lane) * input.Stride;
                if (width == Width && height == Height)
                    Block<TValues>(inputs, weights, weight.Columns, results);
                else
                    for (int lane = 0; lane < height; lane++)
                        if (width == Width)
                            Strip<TValues>(inputs[lane], weights, weight.Columns, results + lane * Width);
                        else
                            for (int i = 0; i < width; i++)
                                results[lane * Width + i] = Dot<TValues>(inputs[lane], weights[i], weight.Columns);
                for (int lane = 0; lane < height; lane++)
                    new ReadOnlySpan<float>(results + lane * Width, width).CopyTo(
                        new Span<float>((float*)output.Address + (long)rows.Output(place + lane) * output.Stride + row, width));
            }
        }
    }

    /// <summary>Four input rows by four weight rows.</summary>
    private static void Block<TValues>(float** inputs, WeightRow* weights, int columns, float* results) where TValues : struct, IRowValues
    {
        float* a0 = inputs[0], a1 = inputs[1], a2 = inputs[2], a3 = inputs[3];
        WeightRow w0 = weights[0], w1 = weights[1], w2 = weights[2], w3 = weights[3];
        Vector512<float> s00 = default, s01 = default, s02 = default, s03 = default, s10 = default, s11 = default, s12 = default, s13 = default;
        Vector512<float> s20 = default, s21 = default, s22 = default, s23 = default, s30 = default, s31 = default, s32 = default, s33 = default;
        int column = 0;
        for (; column <= columns - 16; column += 16)
        {
            Vector512<float> x0 = TValues.Load(w0, column), x1 = TValues.Load(w1, column), x2 = TValues.Load(w2, column), x3 = TValues.Load(w3, column);
            Vector512<float> y = Vector512.Load(a0 + column);
            s00 = Vector512.FusedMultiplyAdd(y, x0, s00);
            s01 = Vector512.FusedMultiplyAdd(y, x1, s01);
            s02 = Vector512.FusedMultiplyAdd(y, x2, s02);
            s03 = Vector512.FusedMultiplyAdd(y, x3, s03);
            y = Vector512.Load(a1 + column);
            s10 = Vector512.FusedMultiplyAdd(y, x0, s10);
            s11 = Vector512.FusedMultiplyAdd(y, x1, s11);
            s12 = Vector512.FusedMultiplyAdd(y, x2, s12);
            s13 = Vector512.FusedMultiplyAdd(y, x3, s13);
            y = Vector512.Load(a2 + column);
            s20 = Vector512.FusedMultiplyAdd(y, x0, s20);
            s21 = Vector512.FusedMultiplyAdd(y, x1, s21);
            s22 = Vector512.FusedMultiplyAdd(y, x2, s22);
            s23 = Vector512.FusedMultiplyAdd(y, x3, s23);
            y = Vector512.Load(a3 + column);
            s30 = Vector512.FusedMultiplyAdd(y, x0, s30);
            s31 = Vector512.FusedMultiplyAdd(y, x1, s31);
            s32 = Vector512.FusedMultiplyAdd(y, x2, s32);
            s33 = Vector512.FusedMultiplyAdd(y, x3, s33);
        }
        results[0] = End<TValues>(s00, a0, w0, column, columns);
        results[1] = End<TValues>(s01, a0, w1, column, columns);
        results[2] = End<TValues>(s02, a0, w2, column, columns);
        results[3] = End<TValues>(s03, a0, w3, column, columns);
        results[4] = End<TValues>(s10, a1, w0, column, columns);
        results[5] = End<TValues>(s11, a1, w1, column, columns);
        results[6] = End<TValues>(s12, a1, w2, column, columns);
        results[7] = End<TValues>(s13, a1, w3, column, columns);
        results[8] = End<TValues>(s20, a2, w0, column, columns);
        results[9] = End<TValues>(s21, a2, w1, column, columns);
        results[10] = End<TValues>(s22, a2, w2, column, columns);
        results[11] = End<TValues>(s23, a2, w3, column, columns);
        results[12] = End<TValues>(s30, a3, w0, column, columns);
        results[13] = End<TValues>(s31, a3, w1, column, columns);
        results[14] = End<TValues>(s32, a3, w2, column, columns);
        results[15] = End<TValues>(s33, a3, w3, column, columns);
    }

    /// <summary>One input row by four weight rows.</summary>
    private static void Strip<TValues>(float* input, WeightRow* weights, int columns, float* results) where TValues : struct, IRowValues
    {
        WeightRow w0 = weights[0], w1 = weights[1], w2 = weights[2], w3 = weights[3];
        Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default;
        int column = 0;
        for (; column <= columns - 16; column += 16)
        {
            Vector512<float> y = Vector512.Load(input + column);
            s0 = Vector512.FusedMultiplyAdd(y, TValues.Load(w0, column), s0);
            s1 = Vector512.FusedMultiplyAdd(y, TValues.Load(w1, column), s1);
            s2 = Vector512.FusedMultiplyAdd(y, TValues.Load(w2, column), s2);
            s3 = Vector512.FusedMultiplyAdd(y, TValues.Load(w3, column), s3);
        }
        results[0] = End<TValues>(s0, input, w0, column, columns);
        results[1] = End<TValues>(s1, input, w1, column, columns);
        results[2] = End<TValues>(s2, input, w2, column, columns);
        results[3] = End<TValues>(s3, input, w3, column, columns);
    }

    private static float Dot<TValues>(float* input, WeightRow weights, int columns) where TValues : struct, IRowValues
    {
        Vector512<float> sum = default;
        int column = 0;
        for (; column <= columns - 16; column += 16)
            sum = Vector512.FusedMultiplyAdd(Vector512.Load(input + column), TValues.Load(weights, column), sum);
        return End<TValues>(sum, input, weights, column, columns);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float End<TValues>(Vector512<float> sums, float* input, WeightRow weights, int column, int columns) where TValues : struct, IRowValues
    {
        float sum = Vector512.Sum(sums);
        for (; column < columns; column++)
            sum = MathF.FusedMultiplyAdd(input[column], TValues.One(weights, column), sum);
        return sum;
    }

    /// <summary>A row and the factors of its squares, if it has any.</summary>
    private readonly struct WeightRow(byte* values, float* factors)
    {
        public byte* Values => values;

        public float* Factors => factors;
    }

    private interface IRowValues
    {
        static abstract Vector512<float> Load(WeightRow row, int column);

        static abstract float One(WeightRow row, int column);
    }

    private readonly struct Plain<TStored> : IRowValues where TStored : struct, IStoredValues
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector512<float> Load(WeightRow row, int column) => TStored.Load(row.Values, column);

        public static float One(WeightRow row, int column) => TStored.One(row.Values, column);
    }

    private readonly struct Float8Values : IRowValues
    {
        // Sixteen columns never cross a square: both begin at multiples of sixteen.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector512<float> Load(WeightRow row, int column) =>
            Float8.ToSingle(Vector128.Load(row.Values + column)) * row.Factors[column / ElementTypes.SquareLength];

        public static float One(WeightRow row, int column) =>
            Float8.ToSingle(row.Values[column]) * row.Factors[column / ElementTypes.SquareLength];
    }
}
