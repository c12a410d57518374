namespace XDeepServe.FlowServe.Speculating;

/// <summary>What became of proposed tokens, with vLLM's names. Written by the group's thread, read by any.</summary>
/// <param name="tokens">Most tokens proposed at once.</param>
public sealed class SpeculationMetrics(int tokens)
{
    private readonly long[] accepted = new long[tokens];

    /// <summary>Times that tokens were proposed for a sequence and verified.</summary>
    public long Drafts { get; private set; }

    /// <summary>Tokens proposed.</summary>
    public long DraftTokens { get; private set; }

    /// <summary>Tokens accepted.</summary>
    public long AcceptedTokens { get; private set; }

    /// <summary>Accepted tokens by their place in the proposal.</summary>
    public IReadOnlyList<long> AcceptedByPlace => accepted;

    internal void Observe(int proposed, int count)
    {
        Drafts++;
        DraftTokens += proposed;
        AcceptedTokens += count;
        for (int i = 0; i < count; i++)
            accepted[i]++;
    }
}
