using System.Runtime.Intrinsics;

namespace XDeepServe.Xccl.Tokens;

/// <summary>
/// The gate-weighted sum of a token's expert rows, read where they lie in the experts' memory. Adds in the order of the rows
/// given, in single precision, each step rounded once: the same bits as the kernels' CombineExperts.
/// </summary>
internal static unsafe class RowSum
{
    private const int Lanes = 16;

    /// <summary>target = Σ gates[k] · rows[k], k rising.</summary>
    /// <param name="target">[hidden]</param>
    /// <param name="rows">[count] rows on the way.</param>
    /// <param name="gates">[count]</param>
    /// <param name="count">Experts of the token.</param>
    /// <param name="format">Of the rows.</param>
    public static void Run(float* target, byte** rows, float* gates, int count, in RowFormat format)
    {
        float* scales = stackalloc float[count];
        for (int k = 0; k < count; k++)
            scales[k] = format.Scale(rows[k]);
        switch (format.Wire)
        {
            case WireType.F32: Run<SingleRow>(target, rows, gates, scales, count, format.Hidden); break;
            case WireType.BF16: Run<HalvedRow>(target, rows, gates, scales, count, format.Hidden); break;
            default: Run<ByteRow>(target, rows, gates, scales, count, format.Hidden); break;
        }
    }

    private static void Run<TRow>(float* target, byte** rows, float* gates, float* scales, int count, int hidden)
        where TRow : IRowType
    {
        int index = 0;
        for (; index <= hidden - (4 * Lanes); index += 4 * Lanes)
        {
            Vector512<float> a = default, b = default, c = default, d = default;
            for (int k = 0; k < count; k++)
            {
                Vector512<float> gate = Vector512.Create(gates[k]), scale = Vector512.Create(scales[k]);
                a = Vector512.FusedMultiplyAdd(gate, Value<TRow>(rows[k], index, scale), a);
                b = Vector512.FusedMultiplyAdd(gate, Value<TRow>(rows[k], index + Lanes, scale), b);
                c = Vector512.FusedMultiplyAdd(gate, Value<TRow>(rows[k], index + (2 * Lanes), scale), c);
                d = Vector512.FusedMultiplyAdd(gate, Value<TRow>(rows[k], index + (3 * Lanes), scale), d);
            }
            a.Store(target + index);
            b.Store(target + index + Lanes);
            c.Store(target + index + (2 * Lanes));
            d.Store(target + index + (3 * Lanes));
        }
        for (; index < hidden; index++)
        {
            float sum = 0;
            for (int k = 0; k < count; k++)
                sum = MathF.FusedMultiplyAdd(gates[k], TRow.Scaled ? TRow.LoadOne(rows[k], index) * scales[k] : TRow.LoadOne(rows[k], index), sum);
            target[index] = sum;
        }
    }

    private static Vector512<float> Value<TRow>(byte* row, int index, Vector512<float> scale)
        where TRow : IRowType => TRow.Scaled ? TRow.Load(row, index) * scale : TRow.Load(row, index);
}
