using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.FlowServe;

/// <summary>A request inside a Task Executor: its sequences and where their output goes. Belongs to one DP group's thread.</summary>
public sealed class Submission
{
    private readonly Action<Submission> abort, withdraw;
    private readonly Action<Submission, bool> ended;
    private int open;
    private int claim = -1; // twice its group's number, and 1 where it was handed to that group; -1 while it waits for one
    private bool started;

    internal Submission(GenerationRequest request, IOutput output, Action<Submission> abort, Action<Submission> withdraw, Action<Submission, bool> ended)
    {
        (Request, Output, this.abort, this.withdraw, this.ended) = (request, output, abort, withdraw, ended);
        open = request.Sampling.N;
        Chain = PrefixChain.Of(request);
    }

    /// <summary>The request.</summary>
    public GenerationRequest Request { get; }

    internal IOutput Output { get; }

    internal Sequence[] Sequences { get; set; } = [];

    internal int CachedTokens { get; set; }

    /// <summary>Names of the prompt's beginnings.</summary>
    internal ulong[] Chain { get; }

    /// <summary>Whether much is to be computed; None until someone has looked.</summary>
    internal PromptClass Class { get; set; }

    /// <summary>Tokens at its beginning that its DP group's cache held when it came there.</summary>
    internal int Hits { get; set; }

    /// <summary>[groups] tokens at its beginning that each group's cache held when the leader last looked; the leader's.</summary>
    internal int[]? GroupHits { get; set; }

    /// <summary>The DP group that has it; -1 while it waits for one.</summary>
    internal int Group => Volatile.Read(ref claim) >> 1;

    /// <summary>Whether it was handed to that group, and not only ended by it.</summary>
    internal bool Given => Volatile.Read(ref claim) is >= 0 and var claimed && (claimed & 1) != 0;

    /// <summary>Cache positions that each choice is expected to hold at its end.</summary>
    internal long Expected { get; set; }

    /// <summary>One entry per prompt token, filled before the first token is pushed.</summary>
    internal TokenLogprob?[]? PromptLogprobs { get; set; }

    internal long FirstTokenAt { get; set; }

    internal long LastTokenAt { get; set; }

    /// <summary>Frees all it holds within a step. Any thread; does nothing for a request that has ended.</summary>
    public void Abort() => abort(this);

    /// <summary>Ends it with reason <c>withdrawn</c> if it has not begun, so that another Task Executor takes it; what is held for it elsewhere stays. Any thread.</summary>
    public void Withdraw() => withdraw(this);

    /// <summary>It is to leave: false if anything was done for it. What is held for it elsewhere is for whoever takes it. The group's thread.</summary>
    internal bool TryLeave()
    {
        if (Array.Exists(Sequences, static sequence => sequence.Finished || sequence.Slot >= 0 || sequence.AdmittedAt != 0 || sequence.TicketUsed))
            return false;
        foreach (Sequence sequence in Sequences)
            sequence.TicketUsed = true;
        return true;
    }

    /// <summary>Says which DP group has it, and whether it is handed to that group; false if one has it already.</summary>
    internal bool TryClaim(int number, bool given) => Interlocked.CompareExchange(ref claim, (2 * number) + (given ? 1 : 0), -1) < 0;

    internal void Start(int group)
    {
        if (started)
            return;
        started = true;
        Output.Start(group, CachedTokens, PromptLogprobs);
    }

    /// <summary>One of its choices holds nothing any more.</summary>
    /// <param name="whole">Whether it came to its own end.</param>
    internal void EndChoice(bool whole)
    {
        if (--open == 0)
            ended(this, whole);
    }
}
