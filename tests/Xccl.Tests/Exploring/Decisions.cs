namespace XDeepServe.Xccl.Tests.Exploring;

/// <summary>
/// The choices of one execution after another: every combination in turn (depth first), or drawn by chance. An execution asks
/// in the same order whenever it gets the same answers.
/// </summary>
internal sealed class Decisions(Random? chance = null)
{
    private readonly List<(int Chosen, int Choices)> trail = [];
    private int place;

    /// <summary>One of some choices.</summary>
    public int Next(int choices)
    {
        if (choices == 1)
            return 0;
        if (chance is not null)
            return chance.Next(3) == 0 ? chance.Next(choices) : 0;
        if (place == trail.Count)
            trail.Add((0, choices));
        Assert.Equal(trail[place].Choices, choices);
        return trail[place++].Chosen;
    }

    /// <summary>Goes to the next combination.</summary>
    /// <returns>False after the last one.</returns>
    public bool Advance()
    {
        place = 0;
        while (trail.Count > 0 && trail[^1].Chosen + 1 == trail[^1].Choices)
            trail.RemoveAt(trail.Count - 1);
        if (trail.Count == 0)
            return false;
        trail[^1] = (trail[^1].Chosen + 1, trail[^1].Choices);
        return true;
    }
}
