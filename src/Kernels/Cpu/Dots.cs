using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// Products of rows of singles with stored rows: four by four, one by four, one by one. A product has the same bits in each
/// form: sixteen lanes are filled front to back and added in the same tree, columns left over follow one by one.
/// </summary>
internal static unsafe class Dots
{
    /// <summary>results[4 · i + j] = inputs[i] · weights[j].</summary>
    public static void Block<TValues>(float** inputs, StoredRow* weights, int columns, float* results) where TValues : struct, IRowValues
    {
        float* a0 = inputs[0], a1 = inputs[1], a2 = inputs[2], a3 = inputs[3];
        StoredRow w0 = weights[0], w1 = weights[1], w2 = weights[2], w3 = weights[3];
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
        if (Avx512F.IsSupported && column == columns)
        {
            Pairs(
                Halves(Quarters(s00, s10, s20, s30), Quarters(s01, s11, s21, s31)), Halves(Quarters(s02, s12, s22, s32), Quarters(s03, s13, s23, s33))).Store(results);
            return;
        }
        Store<TValues>(Sums(s00, s01, s02, s03), a0, weights, column, columns, results);
        Store<TValues>(Sums(s10, s11, s12, s13), a1, weights, column, columns, results + 4);
        Store<TValues>(Sums(s20, s21, s22, s23), a2, weights, column, columns, results + 8);
        Store<TValues>(Sums(s30, s31, s32, s33), a3, weights, column, columns, results + 12);
    }

    /// <summary>results[j] = input · weights[j].</summary>
    public static void Strip<TValues>(float* input, StoredRow* weights, int columns, float* results) where TValues : struct, IRowValues
    {
        StoredRow w0 = weights[0], w1 = weights[1], w2 = weights[2], w3 = weights[3];
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
        Store<TValues>(Sums(s0, s1, s2, s3), input, weights, column, columns, results);
    }

    /// <summary>input · weights.</summary>
    public static float One<TValues>(float* input, StoredRow weights, int columns) where TValues : struct, IRowValues
    {
        Vector512<float> sum = default;
        int column = 0;
        for (; column <= columns - 16; column += 16)
            sum = Vector512.FusedMultiplyAdd(Vector512.Load(input + column), TValues.Load(weights, column), sum);
        return Rest<TValues>(Four(Quarter(sum)), input, weights, column, columns);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<TValues>(Vector128<float> sums, float* input, StoredRow* weights, int column, int columns, float* results)
        where TValues : struct, IRowValues
    {
        sums.Store(results);
        for (int lane = 0; column < columns && lane < 4; lane++)
            results[lane] = Rest<TValues>(results[lane], input, weights[lane], column, columns);
    }

    private static float Rest<TValues>(float sum, float* input, StoredRow weights, int column, int columns) where TValues : struct, IRowValues
    {
        for (; column < columns; column++)
            sum = MathF.FusedMultiplyAdd(input[column], TValues.One(weights, column), sum);
        return sum;
    }

    /// <summary>Four vectors, each added down to four lanes by halves: the same tree as <see cref="Sums"/>, for all four at once.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Quarters(Vector512<float> a, Vector512<float> b, Vector512<float> c, Vector512<float> d)
    {
        Vector512<float> ab = Avx512F.Shuffle4x128(a, b, 0x44) + Avx512F.Shuffle4x128(a, b, 0xEE);
        Vector512<float> cd = Avx512F.Shuffle4x128(c, d, 0x44) + Avx512F.Shuffle4x128(c, d, 0xEE);
        return Avx512F.Shuffle4x128(ab, cd, 0x88) + Avx512F.Shuffle4x128(ab, cd, 0xDD);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Halves(Vector512<float> a, Vector512<float> b) => Avx512F.UnpackLow(a, b) + Avx512F.UnpackHigh(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Pairs(Vector512<float> a, Vector512<float> b) =>
        Avx512F.UnpackLow(a.AsDouble(), b.AsDouble()).AsSingle() + Avx512F.UnpackHigh(a.AsDouble(), b.AsDouble()).AsSingle();

    /// <summary>The sums of four vectors' lanes: sixteen to four by halves, then four at once.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Sums(Vector512<float> a, Vector512<float> b, Vector512<float> c, Vector512<float> d)
    {
        Vector128<float> a4 = Quarter(a), b4 = Quarter(b), c4 = Quarter(c), d4 = Quarter(d);
        if (!Sse.IsSupported)
            return Vector128.Create(Four(a4), Four(b4), Four(c4), Four(d4));
        Vector128<float> ab = Sse.UnpackLow(a4, b4) + Sse.UnpackHigh(a4, b4);
        Vector128<float> cd = Sse.UnpackLow(c4, d4) + Sse.UnpackHigh(c4, d4);
        return Sse.MoveLowToHigh(ab, cd) + Sse.MoveHighToLow(cd, ab);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Quarter(Vector512<float> vector)
    {
        Vector256<float> half = vector.GetLower() + vector.GetUpper();
        return half.GetLower() + half.GetUpper();
    }

    private static float Four(Vector128<float> v) => v[0] + v[2] + (v[1] + v[3]);
}
