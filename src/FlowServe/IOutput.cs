namespace XDeepServe.FlowServe;

/// <summary>
/// Where the output of one request goes: to a reader in this process (<see cref="Generation"/>) or to a front end elsewhere.
/// The DP group's thread calls it and never waits for it; it must not block, throw or allocate in steady state.
/// </summary>
public interface IOutput
{
    /// <summary>Whether nobody reads any more: the request ends within a step.</summary>
    bool Aborted { get; }

    /// <summary>Comes once, before the first token of the first choice.</summary>
    /// <param name="group">The DP group that runs the request.</param>
    /// <param name="cachedTokens">Prompt tokens that were found in the cache.</param>
    /// <param name="promptLogprobs">One entry per prompt token, if they were asked for.</param>
    void Start(int group, int cachedTokens, TokenLogprob?[]? promptLogprobs);

    /// <summary>Takes a token or the end of a choice.</summary>
    void Push(in OutputEvent item);

    /// <summary>Tells what stopped the request, before the events whose finish reason is error.</summary>
    void Fail(Exception failure);

    /// <summary>
    /// The request goes on elsewhere, see <see cref="GenerationRequest.HandOverAfter"/>: what has been computed is held here
    /// under a number until it is freed or its lease ends. No event follows.
    /// </summary>
    /// <param name="hold">What is held.</param>
    void HandOver(KvHold hold);
}
