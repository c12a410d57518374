using XDeepServe.FlowServe;
using XDeepServe.Server.Control.Messages;

namespace XDeepServe.Server.Control.Frontend;

/// <summary>How a task ended.</summary>
internal enum TaskEndKind
{
    /// <summary>The answer is complete.</summary>
    Finished,
    /// <summary>It goes on elsewhere.</summary>
    HandedOver,
    /// <summary>It had not begun, and another Task Executor is to take it.</summary>
    Withdrawn,
    /// <summary>Its Task Executor has gone, or gave it up.</summary>
    Lost,
    /// <summary>Nobody reads the answer.</summary>
    Aborted,
    /// <summary>It can never be done as it is.</summary>
    Refused,
    /// <summary>It cannot be done now.</summary>
    Failed,
}

/// <summary>How a task ended.</summary>
/// <param name="Kind">How.</param>
/// <param name="Hold">What is held for it, where it goes on elsewhere.</param>
/// <param name="Reason">Why, where it did not end well.</param>
/// <param name="Refusal">What is wrong with the request, where it was refused.</param>
internal sealed record TaskEnd(TaskEndKind Kind, HoldRecord? Hold = null, string? Reason = null, InvalidRequestException? Refusal = null);
