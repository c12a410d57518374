namespace XDeepServe.FlowServe;

/// <summary>What came since the last delta, for one choice.</summary>
public sealed record OutputDelta
{
    /// <summary>0 to n - 1.</summary>
    public int Choice { get; init; }

    /// <summary>New text; whole characters.</summary>
    public string Text { get; init; } = "";

    /// <summary>New tokens, a token that ended the text included.</summary>
    public IReadOnlyList<int> TokenIds { get; init; } = [];

    /// <summary>One per new token, if asked for.</summary>
    public IReadOnlyList<TokenLogprob>? Logprobs { get; init; }

    /// <summary>One per prompt token (null for the first), with the first delta of choice 0, if asked for.</summary>
    public IReadOnlyList<TokenLogprob?>? PromptLogprobs { get; init; }

    /// <summary>What was read behind the prompt, see <see cref="GenerationRequest.Readout"/>; comes with the end.</summary>
    public IReadOnlyList<float>? Values { get; init; }

    /// <summary>stop, length, abort or error; null while the choice goes on.</summary>
    public string? FinishReason { get; init; }

    /// <summary>The stop string (string) or stop id (int) that ended the choice; null for the end of text.</summary>
    public object? StopReason { get; init; }

    /// <summary>Tokens of the prompt.</summary>
    public int PromptTokens { get; init; }

    /// <summary>Prompt tokens that came from the prefix cache.</summary>
    public int CachedTokens { get; init; }

    /// <summary>Tokens of this choice so far.</summary>
    public int CompletionTokens { get; init; }
}

/// <summary>Log-probability of a token, under the model's own distribution.</summary>
/// <param name="Id">The token.</param>
/// <param name="Logprob">Natural logarithm.</param>
/// <param name="Rank">1 for the best token.</param>
/// <param name="Top">The best tokens, falling.</param>
public sealed record TokenLogprob(int Id, float Logprob, int Rank, IReadOnlyList<(int Id, float Logprob)> Top);
