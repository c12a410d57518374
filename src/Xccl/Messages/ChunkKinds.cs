namespace XDeepServe.Xccl.Messages;

/// <summary>What a chunk is.</summary>
[Flags]
internal enum ChunkKinds : uint
{
    /// <summary>Payload in the slot of the same number; the field holds where it begins.</summary>
    Slot = 0,
    /// <summary>The message's last chunk.</summary>
    Last = 1,
    /// <summary>Payload in the field.</summary>
    Inline = 2,
    /// <summary>Payload in the sender's app area; the field holds its offset there.</summary>
    Lent = 4,
    /// <summary>The sender gave the message up; no payload.</summary>
    Abandoned = 8,
    /// <summary>The sender waits for the acknowledgement.</summary>
    Acknowledge = 16,
}
