namespace XDeepServe.Xccl.Messages;

/// <summary>One message that is expected, and how much of it has arrived.</summary>
internal unsafe struct Incoming
{
    /// <summary>Room for the message; the caller's.</summary>
    public byte* Destination;

    /// <summary>Bytes of room.</summary>
    public long Capacity;

    /// <summary>The caller's name for it; the next message must have it.</summary>
    public uint EventId;

    /// <summary>The caller's own number, for the completion.</summary>
    public ulong Token;

    /// <summary>The first chunk has been seen.</summary>
    public bool Started;

    /// <summary>Bytes that have arrived.</summary>
    public long Received;

    /// <summary>What went wrong, for messages: the event that came instead, or the bytes that the message has.</summary>
    public long Found;
}
