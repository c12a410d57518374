namespace XDeepServe.Xccl.Tokens;

/// <summary>
/// Which rows go to which consumer, and where the answers will lie: for each consumer its rows in order of token, each once
/// however many of the token's experts it has; for each (token, k) the consumer and the place among the rows that it returns,
/// which come in order of (token, k). Expert slots are physical: slot s belongs to consumer s / slotsPerConsumer.
/// </summary>
internal sealed class RoutePlan
{
    private readonly int topK, consumers, slotsPerConsumer, segments, capacity;
    private readonly int[] slots; // [capacity, topK]
    private readonly int[] places; // [capacity, topK]
    private readonly int[] rowOf; // [capacity, topK]
    private readonly int[] rows; // [consumers, capacity]: token
    private readonly int[] rowCounts; // [consumers]
    private readonly int[] pairCounts; // [consumers]
    private readonly int[] segmentCounts; // [consumers, segments]
    private readonly int[] segmentStarts; // [segments + 1]: first token

    public RoutePlan(TokenShape shape, int consumers, int slotsPerConsumer, int segments)
    {
        topK = shape.TopK;
        this.consumers = consumers;
        this.slotsPerConsumer = slotsPerConsumer;
        this.segments = segments;
        capacity = shape.MaxTokens * segments;
        slots = new int[capacity * topK];
        places = new int[capacity * topK];
        rowOf = new int[capacity * topK];
        rows = new int[consumers * capacity];
        rowCounts = new int[consumers];
        pairCounts = new int[consumers];
        segmentCounts = new int[consumers * segments];
        segmentStarts = new int[segments + 1];
    }

    /// <summary>Experts of a token.</summary>
    public int TopK => topK;

    /// <summary>Tokens of all segments.</summary>
    public int Tokens { get; private set; }

    /// <summary>Segments added since <see cref="Clear"/>.</summary>
    public int Segments { get; private set; }

    /// <summary>Rows for a consumer, by token.</summary>
    public ReadOnlySpan<int> Rows(int consumer) => rows.AsSpan(consumer * capacity, rowCounts[consumer]);

    /// <summary>(token, expert) pairs at a consumer: rows that it returns.</summary>
    public int Pairs(int consumer) => pairCounts[consumer];

    /// <summary>Rows of each segment for a consumer.</summary>
    public ReadOnlySpan<int> SegmentCounts(int consumer) => segmentCounts.AsSpan(consumer * segments, segments);

    /// <summary>First token of a segment; that of the next ends it.</summary>
    public int SegmentStart(int segment) => segmentStarts[segment];

    /// <summary>A token's k-th expert slot, -1 for none.</summary>
    public int Slot(int token, int k) => slots[(token * topK) + k];

    /// <summary>The consumer that has a slot.</summary>
    public int Consumer(int slot) => slot / slotsPerConsumer;

    /// <summary>Where the answer for (token, k) lies among its consumer's.</summary>
    public int Place(int token, int k) => places[(token * topK) + k];

    /// <summary>Which of its consumer's rows the token of (token, k) is.</summary>
    public int RowOf(int token, int k) => rowOf[(token * topK) + k];

    /// <summary>A token's k-th slot as a consumer numbers its own; -1 if it is not the consumer's.</summary>
    public int LocalSlot(int consumer, int token, int k)
    {
        int local = slots[(token * topK) + k] - (consumer * slotsPerConsumer);
        return (uint)local < (uint)slotsPerConsumer ? local : -1;
    }

    /// <summary>Forgets everything.</summary>
    public void Clear()
    {
        Tokens = Segments = 0;
        rowCounts.AsSpan().Clear();
        pairCounts.AsSpan().Clear();
        segmentCounts.AsSpan().Clear();
    }

    /// <summary>Adds the tokens of one rank.</summary>
    /// <param name="chosen">[tokens, topK] physical slots, -1 for none.</param>
    /// <exception cref="ArgumentException">Too many tokens, or a slot that nobody has.</exception>
    public void Add(ReadOnlySpan<int> chosen)
    {
        int count = chosen.Length / topK;
        if (chosen.Length % topK != 0 || count > capacity / segments)
            throw new ArgumentException($"{chosen.Length} slots are not [tokens, {topK}] with at most {capacity / segments} tokens.");
        foreach (int slot in chosen)
            if (slot < -1 || slot >= consumers * slotsPerConsumer)
                throw new ArgumentException($"Expert slot {slot} does not exist: there are {consumers * slotsPerConsumer}; -1 stands for none.");
        int segment = Segments++;
        segmentStarts[segment] = Tokens;
        for (int index = 0; index < count; index++)
        {
            int token = Tokens++;
            for (int k = 0; k < topK; k++)
            {
                int slot = slots[(token * topK) + k] = chosen[(index * topK) + k];
                if (slot < 0)
                    continue;
                int consumer = Consumer(slot), row = rowCounts[consumer];
                if (row == 0 || rows[(consumer * capacity) + row - 1] != token)
                {
                    rows[(consumer * capacity) + row] = token;
                    rowCounts[consumer]++;
                    segmentCounts[(consumer * segments) + segment]++;
                }
                rowOf[(token * topK) + k] = rowCounts[consumer] - 1;
                places[(token * topK) + k] = pairCounts[consumer]++;
            }
        }
        segmentStarts[segment + 1] = Tokens;
    }
}
