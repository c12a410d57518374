namespace XDeepServe.Xccl.Messages;

/// <summary>One message on its way out, and how far it has come.</summary>
internal unsafe struct Outgoing
{
    /// <summary>First byte; the caller's until the message is finished.</summary>
    public byte* Source;

    /// <summary>Bytes of the message.</summary>
    public long Total;

    /// <summary>The caller's name for it.</summary>
    public uint EventId;

    /// <summary>The source lies in this rank's app area and the receiver reads it there.</summary>
    public bool Lent;

    /// <summary>Finished only when the receiver has acknowledged.</summary>
    public bool Acknowledge;

    /// <summary>The caller's own number, for the completion.</summary>
    public ulong Token;

    /// <summary>Bytes published so far.</summary>
    public long Sent;

    /// <summary>Number of the next chunk within the message.</summary>
    public uint Chunk;

    /// <summary>Everything is published.</summary>
    public bool Published;

    /// <summary>Ring number of the last chunk.</summary>
    public uint Last;
}
