namespace XDeepServe.FlowServe;

/// <summary>
/// What is read behind a prompt in place of generated tokens: the request is prefill alone. Reward models are served by it:
/// label log-probabilities (a generative one), a scalar head (a discriminative one), a representation.
/// </summary>
public sealed record Readout
{
    /// <summary>Most labels of a request.</summary>
    public const int MaxLabels = 256;

    /// <summary>What a request is told whose values are not finite.</summary>
    public const string NoNumbers = "The model computes values that are no numbers: its weights are damaged, or too large for the type of its activations.";

    private Readout()
    {
    }

    /// <summary>Log-probabilities of some tokens behind the prompt, under the model's own distribution, in their order.</summary>
    public static Readout Labels(IReadOnlyList<int> ids) => new() { LabelIds = ids };

    /// <summary>What the model's score head says of the last position: one value for each of its labels, without activation.</summary>
    public static Readout Scores { get; } = new();

    /// <summary>The last position's hidden state behind the final norm.</summary>
    public static Readout LastHidden { get; } = new() { IsHidden = true };

    /// <summary>The mean of all positions' hidden states behind the final norm.</summary>
    public static Readout MeanHidden { get; } = new() { IsHidden = true, IsMean = true };

    /// <summary>Tokens whose log-probabilities are read; null where something else is.</summary>
    public IReadOnlyList<int>? LabelIds { get; private init; }

    /// <summary>Whether hidden states are read.</summary>
    public bool IsHidden { get; private init; }

    /// <summary>Whether every position counts, so that none may come from the prefix cache.</summary>
    public bool IsMean { get; private init; }
}
