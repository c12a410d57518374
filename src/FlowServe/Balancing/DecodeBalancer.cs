namespace XDeepServe.FlowServe.Balancing;

/// <summary>What the TE-shell knows of a DP group when it dispatches.</summary>
/// <param name="Active">Requests that the group runs.</param>
/// <param name="Pending">Requests that were dispatched to it and do not run yet.</param>
/// <param name="BatchLimit">Most that it runs at once.</param>
/// <param name="KvUsed">Cache positions in use.</param>
/// <param name="KvReserved">Cache positions that the outputs of its requests are still expected to need.</param>
public readonly record struct DecodeLoad(int Active, int Pending, int BatchLimit, long KvUsed, long KvReserved);

/// <summary>Picks the DP group of a request that decodes (paper §4.3): once per request, at the TE-shell. Pure.</summary>
public static class DecodeBalancer
{
    /// <summary>Excludes full groups, then takes the lowest use of the cache, the reserve for expected output included.</summary>
    /// <param name="groups">[groups] their loads.</param>
    /// <returns>The group; -1 if all are full: the request waits.</returns>
    public static int Pick(ReadOnlySpan<DecodeLoad> groups)
    {
        int best = -1;
        for (int group = 0; group < groups.Length; group++)
        {
            if (groups[group].Active + groups[group].Pending >= groups[group].BatchLimit)
                continue;
            if (best < 0 || Order(groups[group]).CompareTo(Order(groups[best])) < 0)
                best = group;
        }
        return best;
    }

    // Among equals, which idle groups are, the one with fewer requests.
    private static (long, int) Order(DecodeLoad load) => (load.KvUsed + load.KvReserved, load.Active + load.Pending);
}
