namespace XDeepServe.Server.Control.Messages;

/// <summary>What became of a task that was submitted.</summary>
internal enum AdmissionKind
{
    /// <summary>It runs or waits.</summary>
    Taken,
    /// <summary>Too many wait, or the Task Executor is about to end: try elsewhere or later.</summary>
    Full,
    /// <summary>It can never be served as it is.</summary>
    Invalid,
}

/// <summary>A Task Executor's answer to a task.</summary>
/// <param name="Kind">What became of it.</param>
/// <param name="Complaint">What is wrong.</param>
/// <param name="Param">The field at fault.</param>
[GenerateSerializer, Immutable]
internal readonly record struct Admission([property: Id(0)] AdmissionKind Kind, [property: Id(1)] string? Complaint, [property: Id(2)] string? Param);
