namespace XDeepServe.Training.Stages;

/// <summary>What stands in place of the output matrix.</summary>
public enum ScoreHead
{
    /// <summary>Nothing: the network says tokens.</summary>
    None,

    /// <summary>A score of one value, <c>wᵀh</c>.</summary>
    Linear,

    /// <summary>The same with a bias, <c>wᵀh + b</c>.</summary>
    Biased,
}
