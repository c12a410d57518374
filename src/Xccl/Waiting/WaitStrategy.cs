namespace XDeepServe.Xccl.Waiting;

/// <summary>What a thread does while a peer has not yet answered.</summary>
public enum WaitStrategy
{
    /// <summary><see cref="Spin"/> while every rank can have a core, else <see cref="Block"/>.</summary>
    Automatic,
    /// <summary>Polls without ever calling the system: lowest latency, a core for each rank.</summary>
    Spin,
    /// <summary>Polls briefly, then lets other threads run between two looks.</summary>
    Yield,
    /// <summary>Polls briefly, then sleeps until the peer rings: for more ranks than cores.</summary>
    Block,
}
