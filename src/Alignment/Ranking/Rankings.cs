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
        List<int> left = [.. Enumerable.Range(0, count)];
        while (left.Count > 1)
        {
            if (tournament == Tournament.Linear)
            {
                int loser = await compare(left[0], left[1]).ConfigureAwait(false) >= 0.5 ? 1 : 0;
                left.RemoveAt(loser);
                continue;
            }
            int[] winners = await Task.WhenAll(left.Chunk(2).Select(async pair =>
                pair.Length == 1 || await compare(pair[0], pair[1]).ConfigureAwait(false) >= 0.5 ? pair[0] : pair[1])).ConfigureAwait(false);
            left = [.. winners];
        }
        return left[0];
    }

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
