namespace XDeepServe.FlowServe;

/// <summary>One token of a choice, or its end.</summary>
/// <param name="Choice">Which choice.</param>
/// <param name="Token">The token; -1 for an end without one.</param>
/// <param name="Text">Text that became certain.</param>
/// <param name="Logprob">If asked for.</param>
/// <param name="Finish">Why the choice ended: stop, length, abort or error; null if it goes on.</param>
/// <param name="Reason">The stop string or id.</param>
/// <param name="Values">What was read behind the prompt, where the request asked for that.</param>
public readonly record struct OutputEvent(int Choice, int Token, string Text, TokenLogprob? Logprob, string? Finish, object? Reason, float[]? Values = null);
