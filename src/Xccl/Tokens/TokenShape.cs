namespace XDeepServe.Xccl.Tokens;

/// <summary>Shape of the rows of one exchange; the same on all ranks.</summary>
public sealed record TokenShape
{
    /// <summary>Most tokens that one rank gives away at once.</summary>
    public required int MaxTokens { get; init; }

    /// <summary>Values of a row.</summary>
    public required int Hidden { get; init; }

    /// <summary>Experts of a token.</summary>
    public required int TopK { get; init; }

    /// <summary>The callers' rows: <see cref="WireType.F32"/> or <see cref="WireType.BF16"/>.</summary>
    public WireType Element { get; init; } = WireType.F32;

    /// <summary>Rows on their way to the experts.</summary>
    public WireType DispatchWire { get; init; } = WireType.F32;

    /// <summary>Rows on their way back.</summary>
    public WireType CombineWire { get; init; } = WireType.F32;

    /// <summary>Bytes of one of the callers' rows.</summary>
    public int ElementBytes => Hidden * RowFormat.Size(Element);

    internal RowFormat Dispatch => new(Element, DispatchWire, Hidden);

    internal RowFormat Combine => new(Element, CombineWire, Hidden);

    /// <summary>Bytes of a channel's block that carries tokens of this many ranks to experts.</summary>
    internal long DispatchBlock(int segments) => new TokenBlock(this, segments).Bytes;

    /// <summary>Bytes of a channel's block that carries one row for each (token, expert) back.</summary>
    internal long CombineBlock(int segments) => (long)segments * MaxTokens * TopK * Combine.WireBytes;

    /// <exception cref="ArgumentException">A number is out of its range.</exception>
    internal void Check()
    {
        if (MaxTokens < 1 || Hidden < 1 || TopK < 1)
            throw new ArgumentException($"An exchange needs at least one token, one value and one expert, not {MaxTokens}, {Hidden}, {TopK}.");
        if (Hidden > 1 << 24 || TopK > 1 << 10 || (long)MaxTokens * TopK > 1 << 20)
            throw new ArgumentException($"{MaxTokens} tokens of {Hidden} values with {TopK} experts are more than an exchange takes: at most 2^24 values, 2^10 experts, 2^20 pairs of token and expert.");
        if (Element == WireType.I8)
            throw new ArgumentException("Rows are F32 or BF16 where they are computed; I8 is for the way.");
    }
}
