using XDeepServe.Alignment.Ranking;

namespace XDeepServe.Alignment.Tests;

public sealed class RankingTests
{
    [Theory]
    [InlineData(2)]
    [InlineData(5)]
    [InlineData(12)]
    public void A_fit_recovers_the_strengths_that_made_the_wins(int count)
    {
        Random random = new(count);
        double[] strengths = [.. Enumerable.Range(0, count).Select(_ => 3 * random.NextDouble() - 1.5)];
        double mean = strengths.Average();
        double[,] wins = new double[count, count];
        for (int i = 0; i < count; i++)
            for (int j = 0; j < count; j++)
                wins[i, j] = i == j ? 0 : 1000 / (1 + Math.Exp(strengths[j] - strengths[i]));
        double[] fitted = BradleyTerry.Fit(wins);
        for (int i = 0; i < count; i++)
            Assert.Equal(strengths[i] - mean, fitted[i], 2);
    }

    [Fact]
    public void Whoever_wins_everything_has_a_finite_strength_and_others_keep_their_order()
    {
        double[] fitted = BradleyTerry.Fit(new double[,] { { 0, 1, 1 }, { 0, 0, 0.6 }, { 0, 0.4, 0 } });
        Assert.All(fitted, value => Assert.True(double.IsFinite(value)));
        Assert.True(fitted[0] > fitted[1] && fitted[1] > fitted[2]);
        Assert.Equal(0, fitted.Sum(), 6);
    }

    [Theory]
    [InlineData(Tournament.Linear, 6)]
    [InlineData(Tournament.KnockOut, 6)]
    [InlineData(Tournament.RoundRobin, 21)]
    public async Task Every_tournament_finds_the_best_with_its_number_of_comparisons(Tournament tournament, int comparisons)
    {
        for (int best = 0; best < 7; best++)
        {
            int met = 0;
            int found = await Rankings.BestAsync(tournament, 7, (i, j) =>
            {
                Interlocked.Increment(ref met);
                Assert.NotEqual(i, j);
                double first = Strength(i, best), second = Strength(j, best);
                return Task.FromResult(first / (first + second));
            });
            Assert.Equal((best, comparisons), (found, met));
        }
        Assert.Equal(0, await Rankings.BestAsync(tournament, 1, (_, _) => throw new InvalidOperationException("There is nobody to meet.")));

        static double Strength(int index, int best) => index == best ? 10 : 1 + index % 3;
    }
}
