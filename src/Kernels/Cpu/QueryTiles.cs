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
    }

    /// <summary>Memory that a tile needs.</summary>
    public static long ScratchBytes(int capacity) => Header(capacity) + (long)capacity * Partition * sizeof(float);

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
    public readonly void Run<TRuns, TValues>(TRuns runs, float scale, int width, int valueWidth)
        where TRuns : struct, IKeyRuns
        where TValues : struct, IStoredValues
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
                KeyRun keys = runs.Keys(first);
                QueryMath.Fetch(keys, Math.Min(runs.Length, end - first), width * TValues.Bytes);
                Score<TValues>(keys, first, Math.Min(runs.Length, end - first), width, scores + first - start);
            }
            for (int i = 0; i < count; i++)
                Soften(i, Math.Max(0, firsts[i] - start), Math.Min(end, limits[i]) - start, scale, valueWidth);
            for (int first = begin; first < end; first += runs.Length)
            {
                KeyRun values = runs.Values(first);
                QueryMath.Fetch(values, Math.Min(runs.Length, end - first), valueWidth * TValues.Bytes);
                Gather<TValues>(values, first, Math.Min(runs.Length, end - first), valueWidth, scores + first - start);
            }
        }
        for (int i = 0; i < count; i++)
            VectorMath.Scale(outputs[i], 1 / sums[i], valueWidth);
    }

    /// <summary>Scores of all queries over one run: four queries together as far as all four see, then each alone.</summary>
    private readonly void Score<TValues>(KeyRun keys, int first, int most, int width, float* to) where TValues : struct, IStoredValues
    {
        for (int i = 0; i < count; i += QueryMath.Group)
        {
            int shared = Shared(i, first, most);
            if (shared > 0)
                QueryMath.Score4<TValues>(queries + i, keys, shared, width, to + i * Partition, Partition);
            for (int query = i; query < Math.Min(count, i + QueryMath.Group); query++)
                QueryMath.Score<TValues>(queries[query], keys, Math.Max(shared, firsts[query] - first), Math.Min(most, limits[query] - first), width, to + query * Partition);
        }
    }

    private readonly void Gather<TValues>(KeyRun values, int first, int most, int width, float* weights) where TValues : struct, IStoredValues
    {
        for (int i = 0; i < count; i += QueryMath.Group)
        {
            int shared = Shared(i, first, most);
            if (shared > 0)
                QueryMath.Gather4<TValues>(outputs + i, values, shared, width, weights + i * Partition, Partition);
            for (int query = i; query < Math.Min(count, i + QueryMath.Group); query++)
                QueryMath.Gather<TValues>(outputs[query], values, Math.Max(shared, firsts[query] - first), Math.Min(most, limits[query] - first), width, weights + query * Partition);
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
}
