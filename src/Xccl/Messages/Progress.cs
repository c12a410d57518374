namespace XDeepServe.Xccl.Messages;

/// <summary>How a message stands.</summary>
public enum Progress
{
    /// <summary>Waits for the peer.</summary>
    Pending,
    /// <summary>Finished.</summary>
    Done,
    /// <summary>The next message has another event; it stays where it is.</summary>
    OtherEvent,
    /// <summary>The next message is larger than the room for it; it stays where it is.</summary>
    TooLarge,
    /// <summary>The sender gave the message up.</summary>
    Abandoned,
    /// <summary>The peer has died or left.</summary>
    Lost,
    /// <summary>Taken back by the caller.</summary>
    Cancelled,
}
