namespace XDeepServe.Server.Control.Messages;

/// <summary>What a Task Executor's tasks put out since the last message to one front end: one message for each step at most.</summary>
[GenerateSerializer, Immutable]
internal sealed class OutputBatch
{
    /// <summary>The Task Executor.</summary>
    [Id(0)] public required string Executor { get; init; }

    /// <summary>Rises with each message; a number that comes again is a repetition.</summary>
    [Id(1)] public required long Number { get; init; }

    /// <summary>The events, in order. Belongs to the sender again once the message was answered.</summary>
    [Id(2)] public required List<OutputRecord> Events { get; init; }

    /// <summary>How loaded the Task Executor is.</summary>
    [Id(3)] public required ExecutorReport Report { get; init; }
}
