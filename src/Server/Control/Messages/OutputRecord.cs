using XDeepServe.FlowServe;
using XDeepServe.FlowServe.DistFlow;

namespace XDeepServe.Server.Control.Messages;

/// <summary>One event of a task on its way to its front end: a token, an end, or that the request is to go on elsewhere.</summary>
[GenerateSerializer, Immutable]
internal readonly record struct OutputRecord
{
    /// <summary>The front end's number of the task.</summary>
    [Id(0)] public required long Task { get; init; }

    /// <summary>The token; -1 for none.</summary>
    [Id(1)] public int Token { get; init; }

    /// <summary>Text that became certain.</summary>
    [Id(2)] public string Text { get; init; }

    /// <summary>Why the task's choice ended; null if it goes on.</summary>
    [Id(3)] public string? Finish { get; init; }

    /// <summary>The stop string that ended it.</summary>
    [Id(4)] public string? StopText { get; init; }

    /// <summary>The stop id that ended it.</summary>
    [Id(5)] public int? StopId { get; init; }

    /// <summary>If asked for.</summary>
    [Id(6)] public TokenLogprob? Logprob { get; init; }

    /// <summary>What was read behind the prompt.</summary>
    [Id(7)] public float[]? Values { get; init; }

    /// <summary>Comes before the first token.</summary>
    [Id(8)] public StartRecord? Start { get; init; }

    /// <summary>What is held for whoever goes on with the request.</summary>
    [Id(9)] public HoldRecord? Hold { get; init; }

    /// <summary>What the engine failed at.</summary>
    [Id(10)] public string? Failure { get; init; }

    /// <summary>Whether that is for want of something that may come back: <see cref="UnavailableException"/>.</summary>
    [Id(11)] public bool Unavailable { get; init; }
}

/// <summary>What is known when a task's first token comes.</summary>
/// <param name="Group">The DP group that runs it.</param>
/// <param name="CachedTokens">Prompt tokens that were found in the cache.</param>
/// <param name="PromptLogprobs">One entry per prompt token, if they were asked for.</param>
[GenerateSerializer, Immutable]
internal sealed record StartRecord([property: Id(0)] int Group, [property: Id(1)] int CachedTokens, [property: Id(2)] TokenLogprob?[]? PromptLogprobs);

/// <summary>Keys and values that a Task Executor holds: metadata alone.</summary>
/// <param name="Ticket">Names them.</param>
/// <param name="Blocks">Cache blocks there, in order of position.</param>
[GenerateSerializer, Immutable]
internal sealed record HoldRecord([property: Id(0)] KvTicket Ticket, [property: Id(1)] int[] Blocks);
