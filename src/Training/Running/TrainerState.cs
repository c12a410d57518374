using System.Text.Json.Serialization;

namespace XDeepServe.Training.Running;

/// <summary>Where a run stands between two steps; with masters and moments all that it takes to go on.</summary>
public sealed record TrainerState
{
    /// <summary>Steps done.</summary>
    public int Step { get; init; }

    /// <summary>Steps of the optimiser.</summary>
    public int OptimizerSteps { get; init; }

    /// <summary>What must not differ when a run goes on: data, seed, sizes.</summary>
    public string Run { get; init; } = "";

    /// <summary>Lowest evaluation loss so far.</summary>
    public double? BestLoss { get; init; }

    /// <summary>Its step.</summary>
    public int Best { get; init; } = -1;

    /// <summary>Evaluations since then.</summary>
    public int Waited { get; init; }

    /// <summary>What has not been logged yet.</summary>
    public Window Window { get; init; } = new();
}

/// <summary>Sums over some steps.</summary>
/// <param name="Loss">Of the losses.</param>
/// <param name="Weight">Of their weights.</param>
/// <param name="Right">Examples that came out right.</param>
/// <param name="Compared">Examples that compare.</param>
/// <param name="Tokens">Tokens.</param>
public sealed record Window(double Loss = 0, double Weight = 0, double Right = 0, double Compared = 0, long Tokens = 0)
{
    /// <summary>Two windows as one.</summary>
    public static Window operator +(Window left, Window right) =>
        new(left.Loss + right.Loss, left.Weight + right.Weight, left.Right + right.Right, left.Compared + right.Compared, left.Tokens + right.Tokens);

    /// <summary>Mean loss; no number if there is none.</summary>
    [JsonIgnore]
    public double MeanLoss => Loss / Weight;

    /// <summary>Share that came out right; null if nothing is compared.</summary>
    [JsonIgnore]
    public double? Accuracy => Compared > 0 ? Right / Compared : null;
}
