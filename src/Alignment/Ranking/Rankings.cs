namespace XDeepServe.Alignment.Ranking;

/// <summary>Finds the best of several answers, or their order, by comparisons of two. Knows nothing of models.</summary>
public static class Rankings
{
    /// <summary>Finds the best.</summary>
    /// <param name="tournament">How.</param>
    /// <param name="count">Number of candidates; at least 1.</param>
    /// <param name="compare">Probability that the first of two is better.</param>
    /// <returns>Its index. Of equals the earlier one wins.</returns>
    public static async Task<int> BestAsync(Tournament tournament, int count, Func<int, int, Task<double>> compare)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        if (tournament == Tournament.RoundRobin)
        {
            IReadOnlyList<double> strengths = await RoundRobinAsync(count, compare).ConfigureAwait(false);
            return Enumerable.Range(0, count).MaxBy(index => strengths[index]);
        }
        IReadOnlyList<int> left = [.. Enumerable.Range(0, count)];
        while (left.Count > 1)
        {
            IReadOnlyList<(int First, int Second)> meetings = Meetings(tournament, left);
            left = Winners(left, meetings, await Task.WhenAll(meetings.Select(pair => compare(pair.First, pair.Second))).ConfigureAwait(false));
        }
        return left[0];
    }

    /// <summary>Who meets whom next; in a knock-out an odd one out waits.</summary>
    /// <param name="tournament">Linear or knock-out.</param>
    /// <param name="left">Candidates that have not lost; at least 2.</param>
    public static IReadOnlyList<(int First, int Second)> Meetings(Tournament tournament, IReadOnlyList<int> left)
        => tournament == Tournament.Linear ? [(left[0], left[1])] : [.. left.Chunk(2).Where(pair => pair.Length == 2).Select(pair => (pair[0], pair[1]))];

    /// <summary>Who is left after meetings, in the old order. Of equals the first one stays.</summary>
    /// <param name="left">Who was left before.</param>
    /// <param name="meetings">Who met whom.</param>
    /// <param name="firstIsBetter">For each meeting the probability that its first is better.</param>
    public static IReadOnlyList<int> Winners(IReadOnlyList<int> left, IReadOnlyList<(int First, int Second)> meetings, IEnumerable<double> firstIsBetter)
        => [.. left.Except(meetings.Zip(firstIsBetter, (pair, better) => better >= 0.5 ? pair.Second : pair.First))];

    /// <summary>Compares everyone with everyone and fits a Bradley-Terry model.</summary>
    /// <returns>For each candidate its strength (<see cref="BradleyTerry.Fit"/>).</returns>
    public static async Task<IReadOnlyList<double>> RoundRobinAsync(int count, Func<int, int, Task<double>> compare)
    {
        double[,] wins = new double[count, count];
        await Task.WhenAll(
            from i in Enumerable.Range(0, count)
            from j in Enumerable.Range(i + 1, count - i - 1)
            select MeetAsync(i, j)).ConfigureAwait(false);
        return BradleyTerry.Fit(wins);

        async Task MeetAsync(int i, int j)
        {
            double first = await compare(i, j).ConfigureAwait(false);
            (wins[i, j], wins[j, i]) = (first, 1 - first);
        }
    }
}
