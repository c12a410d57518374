namespace XDeepServe.Xccl.Messages;

/// <summary>The end of an asynchronous message.</summary>
/// <param name="Rank">The peer.</param>
/// <param name="Token">The caller's own number.</param>
/// <param name="EventId">The message's event.</param>
/// <param name="Bytes">Bytes sent or received.</param>
/// <param name="Outcome"><see cref="Progress.Done"/>, or why not.</param>
public readonly record struct Completion(int Rank, ulong Token, uint EventId, long Bytes, Progress Outcome);
