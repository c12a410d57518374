using System.Runtime.Intrinsics;

namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// Attention of a few queries over the same keys, with a running softmax over partitions of 256 positions. What a query gets
/// does not depend on the other queries: the partitions and the order within them are fixed.
/// </summary>
internal unsafe struct QueryTiles
{
    /// <summary>Positions between two corrections of the running maximum.</summary>
    public const int Partition = 256;

    private readonly float** queries;  // [capacity] query, width of a key
    private readonly float** outputs;  // [capacity] weighted sum so far, width of a value
    private readonly int* firsts;      // [capacity] first position that the query sees
    private readonly int* limits;      // [capacity] the first behind those that it sees
    private readonly float* maxima;    // [capacity]
    private readonly float* sums;      // [capacity]
    private readonly float* scores;    // [capacity, Partition]
    private readonly float* buffer;    // [blockSize, width] one run, widened
    private int count;

    /// <summary>An empty tile in memory of <see cref="ScratchBytes"/>.</summary>
    public QueryTiles(byte* memory, int capacity)
    {
        queries = (float**)memory;
        outputs = queries + capacity;
        firsts = (int*)(outputs + capacity);
        limits = firsts + capacity;
        maxima = (float*)(limits + capacity);
        sums = maxima + capacity;
        scores = (float*)(memory + Header(capacity));
        buffer = scores + capacity * Partition;
    }

    /// <summary>Memory that a tile needs.</summary>
    public static long ScratchBytes(int capacity, int width, int blockSize) =>
        Header(capacity) + ((long)capacity * Partition + (long)blockSize * width) * sizeof(float) + 63 & ~63L;

    /// <summary>Adds a query.</summary>
    /// <param name="query">Its values.</param>
    /// <param name="output">Receives the result.</param>
    /// <param name="first">First position that it sees.</param>
    /// <param name="limit">The first behind those that it sees.</param>
    public void Add(float* query, float* output, int first, int limit)
    {
        queries[count] = query;
        outputs[count] = output;
        firsts[count] = first;
        limits[count] = limit;
        maxima[count] = float.NegativeInfinity;
        sums[count++] = 0;
    }

    /// <summary>Computes all queries' results.</summary>
    /// <param name="runs">Keys and values.</param>
    /// <param name="scale">Factor on the scores.</param>
    /// <param name="width">Width of a key.</param>
    /// <param name="valueWidth">Width of a value.</param>
    public readonly void Run<TRuns>(TRuns runs, float scale, int width, int valueWidth) where TRuns : struct, IKeyRuns
    {
        int positions = 0, lowest = int.MaxValue;
        for (int i = 0; i < count; i++)
        {
            positions = Math.Max(positions, limits[i]);
            lowest = Math.Min(lowest, firsts[i]);
            new Span<float>(outputs[i], valueWidth).Clear();
        }
        // Partitions lie where they lie for every query, and so does what it skips of them: its result is its own.
        for (int start = lowest / Partition * Partition; start < positions; start += Partition)
        {
            int end = Math.Min(positions, start + Partition);
            int begin = Math.Max(start, lowest / runs.Length * runs.Length);
            runs.Enter(start, end - start);
            for (int first = begin; first < end; first += runs.Length)
            {
                int most = Math.Min(runs.Length, end - first);
                KeyRun keys = runs.Keys(first, most, buffer);
                for (int i = 0; i < count; i++)
                {
                    int skip = Math.Max(0, firsts[i] - first);
                    Score(queries[i], keys.Start + (long)skip * keys.Stride, keys.Stride, width, Math.Min(most, limits[i] - first) - skip, scores + i * Partition + first - start + skip);
                }
            }
            for (int i = 0; i < count; i++)
                Soften(i, Math.Max(0, firsts[i] - start), Math.Min(end, limits[i]) - start, scale, valueWidth);
            for (int first = begin; first < end; first += runs.Length)
            {
                int most = Math.Min(runs.Length, end - first);
                KeyRun values = runs.Values(first, most, buffer);
                for (int i = 0; i < count; i++)
                {
                    int skip = Math.Max(0, firsts[i] - first);
                    Gather(outputs[i], values.Start + (long)skip * values.Stride, values.Stride, valueWidth, Math.Min(most, limits[i] - first) - skip, scores + i * Partition + first - start + skip);
                }
            }
        }
        for (int i = 0; i < count; i++)
            VectorMath.Scale(outputs[i], 1 / sums[i], valueWidth);
    }

    private static long Header(int capacity) => (capacity * (2L * sizeof(float*) + 2 * sizeof(int) + 2 * sizeof(float)) + 63) & ~63L;

    /// <summary>Turns a partition's scores into weights and corrects what was summed under a smaller maximum.</summary>
    private readonly void Soften(int query, int skip, int end, float scale, int valueWidth)
    {
        int visible = end - skip;
        if (visible <= 0)
            return;
        float* weights = scores + query * Partition + skip;
        float most = MathF.Max(maxima[query], VectorMath.Largest(weights, visible) * scale);
        if (float.IsNegativeInfinity(most))
            most = 0;
        if (most != maxima[query] && sums[query] != 0)
        {
            float correction = MathF.Exp(maxima[query] - most);
            sums[query] *= correction;
            VectorMath.Scale(outputs[query], correction, valueWidth);
        }
        maxima[query] = most;
        VectorMath.Scale(weights, scale, visible);
        sums[query] += VectorMath.Exponential(weights, weights, most, 1, visible);
    }

    private static void Score(float* query, float* keys, int stride, int width, int visible, float* scores)
    {
        int key = 0;
        for (; key <= visible - 4; key += 4, keys += 4 * (long)stride)
        {
            Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default;
            int i = 0;
            for (; i <= width - 16; i += 16)
            {
                Vector512<float> q = Vector512.Load(query + i);
                s0 = Vector512.FusedMultiplyAdd(q, Vector512.Load(keys + i), s0);
                s1 = Vector512.FusedMultiplyAdd(q, Vector512.Load(keys + stride + i), s1);
                s2 = Vector512.FusedMultiplyAdd(q, Vector512.Load(keys + 2 * (long)stride + i), s2);
                s3 = Vector512.FusedMultiplyAdd(q, Vector512.Load(keys + 3 * (long)stride + i), s3);
            }
            scores[key] = Rest(Vector512.Sum(s0), query, keys, i, width);
            scores[key + 1] = Rest(Vector512.Sum(s1), query, keys + stride, i, width);
            scores[key + 2] = Rest(Vector512.Sum(s2), query, keys + 2 * (long)stride, i, width);
            scores[key + 3] = Rest(Vector512.Sum(s3), query, keys + 3 * (long)stride, i, width);
        }
        for (; key < visible; key++, keys += stride)
            scores[key] = VectorMath.Dot(query, keys, width);
    }

    private static float Rest(float sum, float* left, float* right, int start, int end)
    {
        for (; start < end; start++)
            sum = MathF.FusedMultiplyAdd(left[start], right[start], sum);
        return sum;
    }

    private static void Gather(float* output, float* values, int stride, int width, int visible, float* weights)
    {
        int column = 0;
        for (; column <= width - 64; column += 64)
        {
            float* target = output + column;
            Vector512<float> s0 = Vector512.Load(target), s1 = Vector512.Load(target + 16), s2 = Vector512.Load(target + 32), s3 = Vector512.Load(target + 48);
            float* value = values + column;
            for (int key = 0; key < visible; key++, value += stride)
            {
                Vector512<float> weight = Vector512.Create(weights[key]);
                s0 = Vector512.FusedMultiplyAdd(weight, Vector512.Load(value), s0);
                s1 = Vector512.FusedMultiplyAdd(weight, Vector512.Load(value + 16), s1);
                s2 = Vector512.FusedMultiplyAdd(weight, Vector512.Load(value + 32), s2);
                s3 = Vector512.FusedMultiplyAdd(weight, Vector512.Load(value + 48), s3);
            }
            s0.Store(target);
            s1.Store(target + 16);
            s2.Store(target + 32);
            s3.Store(target + 48);
        }
        for (int key = 0; column < width && key < visible; key++)
            VectorMath.MultiplyAdd(output + column, values + (long)key * stride + column, weights[key], width - column);
    }
}
