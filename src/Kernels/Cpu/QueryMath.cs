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

    /// <summary>scores[q · stride + k] = queries[q] · keys[k] for four queries.</summary>
    public static void Score4<TValues>(float** queries, KeyRun keys, int to, int width, float* scores, int stride) where TValues : struct, IStoredValues
    {
        StoredRow* rows = stackalloc StoredRow[4];
        float* results = stackalloc float[4 * Group];
        for (int key = 0; key < to; key += 4)
        {
            int count = Rows(keys, key, to, rows);
            Dots.Block<Plain<TValues>>(queries, rows, width, results);
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
    private static void Put(float* results, float* scores, int count)
    {
        if (count == 4)
            Vector128.Load(results).Store(scores);
        else
            new ReadOnlySpan<float>(results, count).CopyTo(new Span<float>(scores, count));
    }

    /// <summary>The next four rows of a run, the last one again where it ends; returns how many are new.</summary>
    private static int Rows(KeyRun keys, int key, int to, StoredRow* rows)
    {
        for (int i = 0; i < 4; i++)
            rows[i] = new StoredRow(keys.Row(Math.Min(key + i, to - 1)), null);
        return Math.Min(4, to - key);
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
