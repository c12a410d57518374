namespace XDeepServe.FlowServe;

/// <summary>A request inside a Task Executor: its sequences and where their output goes. Belongs to one DP group's thread.</summary>
public sealed class Submission
{
    private readonly Action<Submission> abort;
    private readonly Action ended;
    private int open;
    private bool started;

    internal Submission(GenerationRequest request, IOutput output, Action<Submission> abort, Action ended)
    {
        (Request, Output, this.abort, this.ended) = (request, output, abort, ended);
        open = request.Sampling.N;
    }

    /// <summary>The request.</summary>
    public GenerationRequest Request { get; }

    internal IOutput Output { get; }

    internal Sequence[] Sequences { get; set; } = [];

    internal int CachedTokens { get; set; }

    /// <summary>One entry per prompt token, filled before the first token is pushed.</summary>
    internal TokenLogprob?[]? PromptLogprobs { get; set; }

    internal long FirstTokenAt { get; set; }

    internal long LastTokenAt { get; set; }

    /// <summary>Frees all it holds within a step. Any thread; does nothing for a request that has ended.</summary>
    public void Abort() => abort(this);

    internal void Start(int group)
    {
        if (started)
            return;
        started = true;
        Output.Start(group, CachedTokens, PromptLogprobs);
    }

    /// <summary>One of its choices holds nothing any more.</summary>
    internal void EndChoice()
    {
        if (--open == 0)
            ended();
    }
}
