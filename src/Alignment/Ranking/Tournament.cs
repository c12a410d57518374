namespace XDeepServe.Alignment.Ranking;

/// <summary>How the best of several is found by comparing two at a time.</summary>
public enum Tournament
{
    /// <summary>The best so far meets each of the others: n − 1 comparisons, one after another.</summary>
    Linear,

    /// <summary>Pairs, then the winners in pairs, and so on: n − 1 comparisons, those of a round at once.</summary>
    KnockOut,

    /// <summary>Everyone meets everyone, n (n − 1) / 2 comparisons at once, and a Bradley-Terry model is fitted: gives an order, not only the best.</summary>
    RoundRobin,
}
