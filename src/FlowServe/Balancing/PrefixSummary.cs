namespace XDeepServe.FlowServe.Balancing;

/// <summary>
/// What a Task Executor's caches hold, small enough to be sent about: the upper halves of its names, sorted. A name that is not
/// there is found with a chance of one in 2³² for each that is. Immutable.
/// </summary>
/// <param name="Names">[n] upper halves of <see cref="PrefixChain"/> names, rising.</param>
public sealed record PrefixSummary(uint[] Names)
{
    /// <summary>Holds nothing.</summary>
    public static PrefixSummary Empty { get; } = new([]);

    /// <summary>Sums up the caches of a Task Executor's DP groups.</summary>
    public static PrefixSummary Of(IEnumerable<PrefixSet> groups)
    {
        uint[] names = [.. groups.SelectMany(group => group.Names()).Select(Short).Distinct()];
        Array.Sort(names);
        return new PrefixSummary(names);
    }

    /// <summary>Tokens of a prompt, from its beginning, that some group holds.</summary>
    /// <param name="chain">The prompt's names.</param>
    public int Held(ReadOnlySpan<ulong> chain)
    {
        int held = 0;
        while (held < chain.Length && Array.BinarySearch(Names, Short(chain[held])) >= 0)
            held++;
        return held * PrefixChain.Span;
    }

    private static uint Short(ulong name) => (uint)(name >> 32);
}
