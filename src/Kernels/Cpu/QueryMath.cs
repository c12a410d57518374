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
        StoredRow* rows = stackalloc StoredRow[4];
        float* results = stackalloc float[4];
        for (int key = from; key < to; key += 4)
        {
            int count = Rows(keys, key, to, rows);
            Dots.Strip<Plain<TValues>>(query, rows, width, results);
            Put(results, scores + key, count);
        }
    }

    /// <summary>scores[q · stride + k] = queries[q] · keys[k] for four queries, <paramref name="row"/> elements apart.</summary>
    public static void Score4<TValues>(float* queries, int row, KeyRun keys, int to, int width, float* scores, int stride) where TValues : struct, IStoredValues
    {
        float** inputs = stackalloc float*[Group] { queries, queries + row, queries + 2 * row, queries + 3 * row };
        StoredRow* rows = stackalloc StoredRow[4];
        float* results = stackalloc float[4 * Group];
        for (int key = 0; key < to; key += 4)
        {
            int count = Rows(keys, key, to, rows);
            Dots.Block<Plain<TValues>>(inputs, rows, width, results);
            for (int query = 0; query < Group; query++)
                Put(results + query * 4, scores + query * stride + key, count);
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
            Put(target, s0, s1, s2, s3);
        }
        Rest<TValues>(output, values, from, to, column, width, weights);
    }

    /// <summary>The same for four queries, <paramref name="row"/> elements apart; the weights of one lie <paramref name="stride"/> behind those of the last.</summary>
    public static void Gather4<TValues>(float* outputs, int row, KeyRun values, int to, int width, float* weights, int stride) where TValues : struct, IStoredValues
    {
        float* w1 = weights + stride, w2 = weights + 2 * stride, w3 = weights + 3 * stride;
        int column = 0;
        for (; column <= width - 64; column += 64)
        {
            float* o0 = outputs + column, o1 = o0 + row, o2 = o1 + row, o3 = o2 + row;
            Vector512<float> s00 = Vector512.Load(o0), s01 = Vector512.Load(o0 + 16), s02 = Vector512.Load(o0 + 32), s03 = Vector512.Load(o0 + 48);
            Vector512<float> s10 = Vector512.Load(o1), s11 = Vector512.Load(o1 + 16), s12 = Vector512.Load(o1 + 32), s13 = Vector512.Load(o1 + 48);
            Vector512<float> s20 = Vector512.Load(o2), s21 = Vector512.Load(o2 + 16), s22 = Vector512.Load(o2 + 32), s23 = Vector512.Load(o2 + 48);
            Vector512<float> s30 = Vector512.Load(o3), s31 = Vector512.Load(o3 + 16), s32 = Vector512.Load(o3 + 32), s33 = Vector512.Load(o3 + 48);
            for (int key = 0; key < to; key++)
            {
                byte* value = values.Row(key);
                Vector512<float> x0 = TValues.Load(value, column), x1 = TValues.Load(value, column + 16);
                Vector512<float> x2 = TValues.Load(value, column + 32), x3 = TValues.Load(value, column + 48);
                Vector512<float> weight = Vector512.Create(weights[key]);
                s00 = Vector512.FusedMultiplyAdd(weight, x0, s00);
                s01 = Vector512.FusedMultiplyAdd(weight, x1, s01);
                s02 = Vector512.FusedMultiplyAdd(weight, x2, s02);
                s03 = Vector512.FusedMultiplyAdd(weight, x3, s03);
                weight = Vector512.Create(w1[key]);
                s10 = Vector512.FusedMultiplyAdd(weight, x0, s10);
                s11 = Vector512.FusedMultiplyAdd(weight, x1, s11);
                s12 = Vector512.FusedMultiplyAdd(weight, x2, s12);
                s13 = Vector512.FusedMultiplyAdd(weight, x3, s13);
                weight = Vector512.Create(w2[key]);
                s20 = Vector512.FusedMultiplyAdd(weight, x0, s20);
                s21 = Vector512.FusedMultiplyAdd(weight, x1, s21);
                s22 = Vector512.FusedMultiplyAdd(weight, x2, s22);
                s23 = Vector512.FusedMultiplyAdd(weight, x3, s23);
                weight = Vector512.Create(w3[key]);
                s30 = Vector512.FusedMultiplyAdd(weight, x0, s30);
                s31 = Vector512.FusedMultiplyAdd(weight, x1, s31);
                s32 = Vector512.FusedMultiplyAdd(weight, x2, s32);
                s33 = Vector512.FusedMultiplyAdd(weight, x3, s33);
            }
            Put(o0, s00, s01, s02, s03);
            Put(o1, s10, s11, s12, s13);
            Put(o2, s20, s21, s22, s23);
            Put(o3, s30, s31, s32, s33);
        }
        for (int query = 0; column < width && query < Group; query++)
            Rest<TValues>(outputs + query * row, values, 0, to, column, width, weights + query * stride);
    }

    /// <summary>
    /// Asks for a run before it is needed: a cache's blocks lie far apart, where the processor does not look ahead by itself. Into the
    /// second-level cache, because far more of its lines can be on their way at a time than of the first's.
    /// </summary>
    public static void Fetch(KeyRun run, int rows, int rowBytes)
    {
        if (!Sse.IsSupported)
            return;
        for (int row = 0; row < rows; row++)
            for (int i = 0; i < rowBytes; i += 64)
                Sse.Prefetch1(run.Row(row) + i);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put(float* target, Vector512<float> a, Vector512<float> b, Vector512<float> c, Vector512<float> d)
    {
        a.Store(target);
        b.Store(target + 16);
        c.Store(target + 32);
        d.Store(target + 48);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put(float* results, float* scores, int count)
    {
        if (count == 4)
            Vector128.Load(results).Store(scores);
        else
            new ReadOnlySpan<float>(results, count).CopyTo(new Span<float>(scores, count));
    }

    /// <summary>The next four rows of a run, the last one again where it ends; returns how many are new.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int Rows(KeyRun keys, int key, int to, StoredRow* rows)
    {
        int count = Math.Min(4, to - key);
        byte* row = keys.Row(key);
        for (int i = 0; i < 4; i++)
        {
            rows[i] = new StoredRow(row, null);
            row += i + 1 < count ? keys.Stride : 0;
        }
        return count;
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
}
