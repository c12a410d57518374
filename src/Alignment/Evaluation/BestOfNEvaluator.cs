using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Ranking;
using XDeepServe.Alignment.Rewards;
using XDeepServe.FlowServe;

namespace XDeepServe.Alignment.Evaluation;

/// <summary>What picking the best of some answers brings, by answers whose merit is known.</summary>
/// <param name="Size">Answers to pick from.</param>
/// <param name="Prompts">Prompts that have as many.</param>
/// <param name="Picked">Merit of the picked answer, with an interval over prompts.</param>
/// <param name="Random">Merit of an answer drawn by lot.</param>
/// <param name="Longest">Merit of the longest answer.</param>
/// <param name="Best">Merit of the best answer: what a perfect reward model picks.</param>
/// <param name="TooLong">Draws that did not fit the model; an answer by lot counts for them.</param>
public sealed record BestOfNResult(int Size, int Prompts, Score Picked, double Random, double Longest, double Best, int TooLong);

/// <summary>Has a reward model pick the best of n answers, drawn from ranked ones.</summary>
/// <param name="model">Judges.</param>
/// <param name="tournament">How a model that compares finds the best.</param>
/// <param name="atOnce">Draws under way at once.</param>
public sealed class BestOfNEvaluator(IRewardModel model, Tournament tournament = Tournament.KnockOut, int atOnce = 16)
{
    private const int Resamples = 2000;

    /// <summary>Picks.</summary>
    /// <param name="sets">Answers with their scores.</param>
    /// <param name="size">Answers to pick from; at least 1.</param>
    /// <param name="draws">Draws for each prompt. The same in every run, whatever the model.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="DataException">No prompt has as many answers.</exception>
    public async Task<BestOfNResult> RunAsync(IReadOnlyList<ResponseSet> sets, int size, int draws, CancellationToken cancel = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(size, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(draws, 1);
        ResponseSet[] large = [.. sets.Where(set => set.Responses.Count >= size)];
        if (large.Length == 0)
            throw new DataException($"No prompt has {size} answers.");
        double[,] picked = new double[large.Length, draws], random = new double[large.Length, draws], longest = new double[large.Length, draws], best = new double[large.Length, draws];
        int tooLong = 0;
        BestOfN pick = new(model, tournament);
        await Parallel.ForEachAsync(Enumerable.Range(0, large.Length * draws), new ParallelOptions { MaxDegreeOfParallelism = atOnce, CancellationToken = cancel }, async (index, token) =>
        {
            (int prompt, int draw) = (index / draws, index % draws);
            ResponseSet set = large[prompt];
            int[] order = [.. Enumerable.Range(0, set.Responses.Count)];
            new Random(index).Shuffle(order);
            int[] drawn = order[..size];
            double[] merits = [.. drawn.Select(answer => set.Scores![answer])];
            random[prompt, draw] = merits.Average();
            best[prompt, draw] = merits.Max();
            longest[prompt, draw] = merits[Enumerable.Range(0, size).MaxBy(place => set.Responses[drawn[place]].Length)];
            try
            {
                picked[prompt, draw] = merits[size == 1 ? 0 : await pick.PickAsync(set.Prompt, [.. drawn.Select(answer => set.Responses[answer])], token).ConfigureAwait(false)];
            }
            catch (InvalidRequestException refused) when (refused.TooLong)
            {
                Interlocked.Increment(ref tooLong);
                picked[prompt, draw] = random[prompt, draw];
            }
        }).ConfigureAwait(false);
        double[] means = [.. Enumerable.Range(0, large.Length).Select(prompt => Enumerable.Range(0, draws).Average(draw => picked[prompt, draw]))];
        return new BestOfNResult(size, large.Length, Score.OfMeans(means, Resamples), Mean(random), Mean(longest), Mean(best), tooLong);

        static double Mean(double[,] values) => values.Cast<double>().Average();
    }
}
