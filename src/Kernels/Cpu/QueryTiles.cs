using System.Runtime.CompilerServices;

namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// Attention of a few queries over the same keys, with a running softmax over partitions of 256 positions. What a query gets
/// does not depend on the other queries: the partitions and the order within them are fixed.
/// </summary>
internal unsafe struct QueryTiles
{
    /// <summary>Positions between two corrections of the running maximum.</summary>
    public const int Partition = 256;

    private const int ScoreStride = Partition + 16; // not a power of two, so that the queries' scores lie in different sets of the cache

    private readonly int width;        // of a key
    private readonly int valueWidth;   // of a value
    private readonly float* queries;   // [capacity, width]: copies one behind the other, because a step's rows lie in the same few sets of the cache
    private readonly float* sums;      // [capacity, valueWidth] weighted sums so far
    private readonly int* firsts;      // [capacity] first position that the query sees
    private readonly int* limits;      // [capacity] the first behind those that it sees
    private readonly float* maxima;    // [capacity]
    private readonly float* totals;    // [capacity] sum of the weights so far
    private readonly float* scores;    // [capacity, ScoreStride]
    private int count;

    /// <summary>An empty tile in memory of <see cref="ScratchBytes"/>.</summary>
    public QueryTiles(byte* memory, int capacity, int width, int valueWidth)
    {
        this.width = width;
        this.valueWidth = valueWidth;
        firsts = (int*)memory;
        limits = firsts + capacity;
        maxima = (float*)(limits + capacity);
        totals = maxima + capacity;
        scores = (float*)(memory + Header(capacity));
        queries = scores + (long)capacity * ScoreStride;
        sums = queries + (long)capacity * Row(width);
    }

    /// <summary>Memory that a tile needs.</summary>
    /// <param name="capacity">Most queries.</param>
    /// <param name="width">Width of a key.</param>
    /// <param name="valueWidth">Width of a value.</param>
    public static long ScratchBytes(int capacity, int width, int valueWidth) =>
        Header(capacity) + (long)capacity * (ScoreStride + Row(width) + Row(valueWidth)) * sizeof(float);

    /// <summary>Elements from one query to the next.</summary>
    public readonly int QueryStride => Row(width);

    /// <summary>Elements from one result to the next.</summary>
    public readonly int ResultStride => Row(valueWidth);

    /// <summary>Adds a query, whose values must be where <see cref="Query"/> says before the tile runs.</summary>
    /// <param name="first">First position that it sees.</param>
    /// <param name="limit">The first behind those that it sees.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Add(int first, int limit)
    {
        new Span<float>(Result(count), valueWidth).Clear();
        firsts[count] = first;
        limits[count] = limit;
        maxima[count] = float.NegativeInfinity;
        totals[count++] = 0;
    }

    /// <summary>Adds a query with its values.</summary>
    /// <param name="query">They are copied.</param>
    /// <param name="first">First position that it sees.</param>
    /// <param name="limit">The first behind those that it sees.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Add(float* query, int first, int limit)
    {
        new ReadOnlySpan<float>(query, width).CopyTo(new Span<float>(Query(count), width));
        Add(first, limit);
    }

    /// <summary>Where a query's values lie.</summary>
    /// <param name="query">Queries are counted as they were added.</param>
    public readonly float* Query(int query) => queries + (long)query * Row(width);

    /// <summary>What was summed for a query: its result once the tile has run.</summary>
    /// <param name="query">Queries are counted as they were added.</param>
    public readonly float* Result(int query) => sums + (long)query * Row(valueWidth);

    /// <summary>Copies a query's result.</summary>
    /// <param name="query">Queries are counted as they were added.</param>
    /// <param name="output">Receives it.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly void CopyResult(int query, float* output) =>
        new ReadOnlySpan<float>(Result(query), valueWidth).CopyTo(new Span<float>(output, valueWidth));

    /// <summary>Computes all queries' results.</summary>
    /// <param name="runs">Keys and values.</param>
    /// <param name="scale">Factor on the scores.</param>
    public readonly void Run<TRuns, TValues>(TRuns runs, float scale)
        where TRuns : struct, IKeyRuns
        where TValues : struct, IStoredValues
    {
        int positions = 0, lowest = int.MaxValue;
        for (int i = 0; i < count; i++)
        {
            positions = Math.Max(positions, limits[i]);
            lowest = Math.Min(lowest, firsts[i]);
        }
        // Partitions lie where they lie for every query, and so does what it skips of them: its result is its own.
        for (int start = lowest / Partition * Partition; start < positions; start += Partition)
        {
            int end = Math.Min(positions, start + Partition);
            int begin = Math.Max(start, lowest / runs.Length * runs.Length);
            runs.Enter(start, end - start);
            for (int first = begin; first < end; first += runs.Length)
            {
                KeyRun keys = runs.Keys(first);
                KeyRun next = first + runs.Length < end ? runs.Keys(first + runs.Length) : runs.Values(begin);
                int most = Math.Min(runs.Length, end - first);
                if (TRuns.Scattered)
                    QueryMath.Fetch(next, most, width * TValues.Bytes);
                Score<TValues>(keys, first, most, scores + first - start);
            }
            for (int i = 0; i < count; i++)
                Soften(i, Math.Max(0, firsts[i] - start), Math.Min(end, limits[i]) - start, scale);
            for (int first = begin; first < end; first += runs.Length)
            {
                KeyRun values = runs.Values(first);
                KeyRun next = first + runs.Length < end ? runs.Values(first + runs.Length) : end < positions ? runs.Keys(end) : values;
                int most = Math.Min(runs.Length, end - first);
                if (TRuns.Scattered)
                    QueryMath.Fetch(next, most, valueWidth * TValues.Bytes);
                Gather<TValues>(values, first, most, scores + first - start);
            }
        }
        for (int i = 0; i < count; i++)
            VectorMath.Scale(Result(i), 1 / totals[i], valueWidth);
    }

    /// <summary>Scores of all queries over one run: four queries together as far as all four see, then each alone.</summary>
    private readonly void Score<TValues>(KeyRun keys, int first, int most, float* scores) where TValues : struct, IStoredValues
    {
        for (int i = 0; i < count; i += QueryMath.Group)
        {
            int shared = Shared(i, first, most);
            if (shared > 0)
                QueryMath.Score4<TValues>(Query(i), Row(width), keys, shared, width, scores + i * ScoreStride, ScoreStride);
            for (int query = i; shared < most && query < Math.Min(count, i + QueryMath.Group); query++)
                QueryMath.Score<TValues>(Query(query), keys, Math.Max(shared, firsts[query] - first), Math.Min(most, limits[query] - first), width, scores + query * ScoreStride);
        }
    }

    private readonly void Gather<TValues>(KeyRun values, int first, int most, float* weights) where TValues : struct, IStoredValues
    {
        for (int i = 0; i < count; i += QueryMath.Group)
        {
            int shared = Shared(i, first, most);
            if (shared > 0)
                QueryMath.Gather4<TValues>(Result(i), Row(valueWidth), values, shared, valueWidth, weights + i * ScoreStride, ScoreStride);
            for (int query = i; shared < most && query < Math.Min(count, i + QueryMath.Group); query++)
                QueryMath.Gather<TValues>(Result(query), values, Math.Max(shared, firsts[query] - first), Math.Min(most, limits[query] - first), valueWidth, weights + query * ScoreStride);
        }
    }

    /// <summary>Positions at the front of a run that all queries of a group see; 0 if the group is not full.</summary>
    private readonly int Shared(int query, int first, int most)
    {
        if (query + QueryMath.Group > count)
            return 0;
        for (int i = query; i < query + QueryMath.Group; i++)
            most = firsts[i] > first ? 0 : Math.Min(most, limits[i] - first);
        return Math.Max(most, 0);
    }

    private static long Header(int capacity) => (capacity * (2L * sizeof(int) + 2 * sizeof(float)) + 63) & ~63L;

    /// <summary>Elements from one row of copies to the next: whole vectors.</summary>
    private static int Row(int width) => (width + 15) & ~15;

    /// <summary>Turns a partition's scores into weights and corrects what was summed under a smaller maximum.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Soften(int query, int skip, int end, float scale)
    {
        int visible = end - skip;
        if (visible <= 0)
            return;
        float* weights = scores + query * ScoreStride + skip;
        float most = MathF.Max(maxima[query], VectorMath.Largest(weights, visible) * scale);
        if (float.IsNegativeInfinity(most))
            most = 0;
        if (most != maxima[query] && totals[query] != 0)
        {
            float correction = MathF.Exp(maxima[query] - most);
            totals[query] *= correction;
            VectorMath.Scale(Result(query), correction, valueWidth);
        }
        maxima[query] = most;
        VectorMath.Scale(weights, scale, visible);
        totals[query] += VectorMath.Exponential(weights, weights, most, 1, visible);
    }
}
