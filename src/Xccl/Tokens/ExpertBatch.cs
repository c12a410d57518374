namespace XDeepServe.Xccl.Tokens;

/// <summary>
/// Tokens that have come to a rank's experts, in order of the rank that they came from and of token. Experts return one row for
/// each (row, k) whose slot is not -1; the rank's own until the next but one batch.
/// </summary>
public sealed class ExpertBatch
{
    private readonly int topK;
    private readonly int[] slots; // [capacity, topK]
    private readonly int[] starts; // [origins + 1]: first row

    internal ExpertBatch(TokenShape shape, int origins)
    {
        topK = shape.TopK;
        slots = new int[origins * shape.MaxTokens * topK];
        Addresses = new nint[origins * shape.MaxTokens];
        starts = new int[origins + 1];
    }

    /// <summary>Rows, each once however many of its experts are here.</summary>
    public int Rows { get; private set; }

    /// <summary>The event of the dispatch.</summary>
    public uint EventId { get; internal set; }

    /// <summary>The word that the first sender gave along, for example the layer.</summary>
    public ulong Note { get; internal set; }

    /// <summary>int32[rows, topK]: slots of this rank, from 0; -1 for experts elsewhere.</summary>
    public ReadOnlySpan<int> Slots => slots.AsSpan(0, Rows * topK);

    /// <summary>Where each row lies on the way; valid until the sources' blocks are released.</summary>
    internal nint[] Addresses { get; }

    /// <summary>Rows that came from an origin.</summary>
    public int RowsOf(int origin) => starts[origin + 1] - starts[origin];

    internal int Start(int origin) => starts[origin];

    internal void Clear() => Rows = 0;

    /// <summary>Adds the rows of the next origin, which is this rank itself.</summary>
    internal void Add(int origin, RoutePlan plan, nint[] sources)
    {
        starts[origin] = Rows;
        foreach (int token in plan.Rows(origin))
        {
            for (int k = 0; k < topK; k++)
                slots[(Rows * topK) + k] = plan.LocalSlot(origin, token, k);
            Addresses[Rows++] = sources[token];
        }
        starts[origin + 1] = Rows;
    }

    /// <summary>Adds the rows of the next origin.</summary>
    internal void Add(int origin, ReadOnlySpan<int> added, nint firstRow, int stride)
    {
        added.CopyTo(slots.AsSpan(Rows * topK));
        starts[origin] = Rows;
        for (int row = 0; row < added.Length / topK; row++)
            Addresses[Rows++] = firstRow + ((nint)row * stride);
        starts[origin + 1] = Rows;
    }
}
