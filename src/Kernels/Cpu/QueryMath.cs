using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// The two products of attention, of one query or of four that share what is loaded. A score or a sum has the same bits in
/// either form: lanes are filled front to back and added in the same tree.
/// </summary>
internal static unsafe class QueryMath
{
    /// <summary>Queries that go together.</summary>
    public const int Group = 4;

    /// <summary>scores[k] = query · keys[k].</summary>
    public static void Score<TValues>(float* query, KeyRun keys, int from, int to, int width, float* scores) where TValues : struct, IStoredValues
    {
        for (int key = from; key < to; key += 4)
        {
            byte* k0 = keys.Row(key), k1 = keys.Row(Math.Min(key + 1, to - 1)), k2 = keys.Row(Math.Min(key + 2, to - 1)), k3 = keys.Row(Math.Min(key + 3, to - 1));
            Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default;
            int i = 0;
            for (; i <= width - 16; i += 16)
            {
                Vector512<float> q = Vector512.Load(query + i);
                s0 = Vector512.FusedMultiplyAdd(q, TValues.Load(k0, i), s0);
                s1 = Vector512.FusedMultiplyAdd(q, TValues.Load(k1, i), s1);
                s2 = Vector512.FusedMultiplyAdd(q, TValues.Load(k2, i), s2);
                s3 = Vector512.FusedMultiplyAdd(q, TValues.Load(k3, i), s3);
            }
            Store<TValues>(Sums(s0, s1, s2, s3), query, keys, key, to, i, width, scores);
        }
    }

    /// <summary>scores[q · stride + k] = queries[q] · keys[k] for four queries.</summary>
    public static void Score4<TValues>(float** queries, KeyRun keys, int to, int width, float* scores, int stride) where TValues : struct, IStoredValues
    {
        float* q0 = queries[0], q1 = queries[1], q2 = queries[2], q3 = queries[3];
        for (int key = 0; key < to; key += 4)
        {
            byte* k0 = keys.Row(key), k1 = keys.Row(Math.Min(key + 1, to - 1)), k2 = keys.Row(Math.Min(key + 2, to - 1)), k3 = keys.Row(Math.Min(key + 3, to - 1));
            Vector512<float> s00 = default, s01 = default, s02 = default, s03 = default, s10 = default, s11 = default, s12 = default, s13 = default;
            Vector512<float> s20 = default, s21 = default, s22 = default, s23 = default, s30 = default, s31 = default, s32 = default, s33 = default;
            int i = 0;
            for (; i <= width - 16; i += 16)
            {
                Vector512<float> x0 = TValues.Load(k0, i), x1 = TValues.Load(k1, i), x2 = TValues.Load(k2, i), x3 = TValues.Load(k3, i);
                Vector512<float> q = Vector512.Load(q0 + i);
                s00 = Vector512.FusedMultiplyAdd(q, x0, s00);
                s01 = Vector512.FusedMultiplyAdd(q, x1, s01);
                s02 = Vector512.FusedMultiplyAdd(q, x2, s02);
                s03 = Vector512.FusedMultiplyAdd(q, x3, s03);
                q = Vector512.Load(q1 + i);
                s10 = Vector512.FusedMultiplyAdd(q, x0, s10);
                s11 = Vector512.FusedMultiplyAdd(q, x1, s11);
                s12 = Vector512.FusedMultiplyAdd(q, x2, s12);
                s13 = Vector512.FusedMultiplyAdd(q, x3, s13);
                q = Vector512.Load(q2 + i);
                s20 = Vector512.FusedMultiplyAdd(q, x0, s20);
                s21 = Vector512.FusedMultiplyAdd(q, x1, s21);
                s22 = Vector512.FusedMultiplyAdd(q, x2, s22);
                s23 = Vector512.FusedMultiplyAdd(q, x3, s23);
                q = Vector512.Load(q3 + i);
                s30 = Vector512.FusedMultiplyAdd(q, x0, s30);
                s31 = Vector512.FusedMultiplyAdd(q, x1, s31);
                s32 = Vector512.FusedMultiplyAdd(q, x2, s32);
                s33 = Vector512.FusedMultiplyAdd(q, x3, s33);
            }
            Store<TValues>(Sums(s00, s01, s02, s03), q0, keys, key, to, i, width, scores);
            Store<TValues>(Sums(s10, s11, s12, s13), q1, keys, key, to, i, width, scores + stride);
            Store<TValues>(Sums(s20, s21, s22, s23), q2, keys, key, to, i, width, scores + 2 * stride);
            Store<TValues>(Sums(s30, s31, s32, s33), q3, keys, key, to, i, width, scores + 3 * stride);
        }
    }

    /// <summary>output += Σ weights[k] · values[k], in order of k.</summary>
    public static void Gather<TValues>(float* output, KeyRun values, int from, int to, int width, float* weights) where TValues : struct, IStoredValues
    {
        int column = 0;
        for (; column <= width - 64; column += 64)
        {
            float* target = output + column;
            Vector512<float> s0 = Vector512.Load(target), s1 = Vector512.Load(target + 16), s2 = Vector512.Load(target + 32), s3 = Vector512.Load(target + 48);
            for (int key = from; key < to; key++)
            {
                byte* value = values.Row(key);
                Vector512<float> weight = Vector512.Create(weights[key]);
                s0 = Vector512.FusedMultiplyAdd(weight, TValues.Load(value, column), s0);
                s1 = Vector512.FusedMultiplyAdd(weight, TValues.Load(value, column + 16), s1);
                s2 = Vector512.FusedMultiplyAdd(weight, TValues.Load(value, column + 32), s2);
                s3 = Vector512.FusedMultiplyAdd(weight, TValues.Load(value, column + 48), s3);
            }
            s0.Store(target);
            s1.Store(target + 16);
            s2.Store(target + 32);
            s3.Store(target + 48);
        }
        Rest<TValues>(output, values, from, to, column, width, weights);
    }

    /// <summary>The same for four queries; the weights of one lie <paramref name="stride"/> behind those of the last.</summary>
    public static void Gather4<TValues>(float** outputs, KeyRun values, int to, int width, float* weights, int stride) where TValues : struct, IStoredValues
    {
        float* w1 = weights + stride, w2 = weights + 2 * stride, w3 = weights + 3 * stride;
        int column = 0;
        for (; column <= width - 32; column += 32)
        {
            float* o0 = outputs[0] + column, o1 = outputs[1] + column, o2 = outputs[2] + column, o3 = outputs[3] + column;
            Vector512<float> s00 = Vector512.Load(o0), s01 = Vector512.Load(o0 + 16), s10 = Vector512.Load(o1), s11 = Vector512.Load(o1 + 16);
            Vector512<float> s20 = Vector512.Load(o2), s21 = Vector512.Load(o2 + 16), s30 = Vector512.Load(o3), s31 = Vector512.Load(o3 + 16);
            for (int key = 0; key < to; key++)
            {
                byte* value = values.Row(key);
                Vector512<float> x0 = TValues.Load(value, column), x1 = TValues.Load(value, column + 16);
                Vector512<float> weight = Vector512.Create(weights[key]);
                s00 = Vector512.FusedMultiplyAdd(weight, x0, s00);
                s01 = Vector512.FusedMultiplyAdd(weight, x1, s01);
                weight = Vector512.Create(w1[key]);
                s10 = Vector512.FusedMultiplyAdd(weight, x0, s10);
                s11 = Vector512.FusedMultiplyAdd(weight, x1, s11);
                weight = Vector512.Create(w2[key]);
                s20 = Vector512.FusedMultiplyAdd(weight, x0, s20);
                s21 = Vector512.FusedMultiplyAdd(weight, x1, s21);
                weight = Vector512.Create(w3[key]);
                s30 = Vector512.FusedMultiplyAdd(weight, x0, s30);
                s31 = Vector512.FusedMultiplyAdd(weight, x1, s31);
            }
            s00.Store(o0);
            s01.Store(o0 + 16);
            s10.Store(o1);
            s11.Store(o1 + 16);
            s20.Store(o2);
            s21.Store(o2 + 16);
            s30.Store(o3);
            s31.Store(o3 + 16);
        }
        for (int query = 0; column < width && query < Group; query++)
            Rest<TValues>(outputs[query], values, 0, to, column, width, weights + query * stride);
    }

    /// <summary>Asks for a run before it is needed: a cache's blocks lie far apart, where the processor does not look ahead by itself.</summary>
    public static void Fetch(KeyRun run, int rows, int rowBytes)
    {
        if (run.Next == 0 || !Sse.IsSupported)
            return;
        for (int row = 0; row < rows; row++)
            for (int i = 0; i < rowBytes; i += 64)
                Sse.Prefetch0((byte*)run.Next + row * run.Stride + i);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<TValues>(Vector128<float> sums, float* query, KeyRun keys, int key, int to, int column, int width, float* scores)
        where TValues : struct, IStoredValues
    {
        if (column == width && key + 4 <= to)
        {
            sums.Store(scores + key);
            return;
        }
        for (int lane = 0; lane < Math.Min(4, to - key); lane++)
        {
            float sum = sums[lane];
            byte* row = keys.Row(key + lane);
            for (int i = column; i < width; i++)
                sum = MathF.FusedMultiplyAdd(query[i], TValues.One(row, i), sum);
            scores[key + lane] = sum;
        }
    }

    private static void Rest<TValues>(float* output, KeyRun values, int from, int to, int column, int width, float* weights) where TValues : struct, IStoredValues
    {
        for (int key = from; column < width && key < to; key++)
        {
            byte* value = values.Row(key);
            int i = column;
            for (; i <= width - 16; i += 16)
                Vector512.FusedMultiplyAdd(Vector512.Create(weights[key]), TValues.Load(value, i), Vector512.Load(output + i)).Store(output + i);
            for (; i < width; i++)
                output[i] = MathF.FusedMultiplyAdd(weights[key], TValues.One(value, i), output[i]);
        }
    }

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
