namespace XDeepServe.Xccl.Tokens;

/// <summary>Bytes of exchanges.</summary>
/// <param name="Counted">As they are usually counted: (token, expert) pairs · hidden · bytes of a value on the way.</param>
/// <param name="Moved">As they really moved out of the blocks of other ranks, metadata included.</param>
public readonly record struct TokenTraffic(long Counted, long Moved)
{
    /// <summary>Adds up.</summary>
    public static TokenTraffic operator +(TokenTraffic one, TokenTraffic other) => Add(one, other);

    /// <summary>Adds up.</summary>
    public static TokenTraffic Add(TokenTraffic one, TokenTraffic other) => new(one.Counted + other.Counted, one.Moved + other.Moved);
}
