using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Rewards;
using XDeepServe.FlowServe;

namespace XDeepServe.Alignment.Evaluation;

/// <summary>Has a reward model judge the pairs of a benchmark.</summary>
/// <param name="model">The model.</param>
/// <param name="atOnce">Pairs under way at once.</param>
public sealed class Evaluator(IRewardModel model, int atOnce = 64)
{
    /// <summary>Judges every pair. Those whose text does not fit the model count as ties.</summary>
    /// <param name="pairs">The pairs.</param>
    /// <param name="progress">Receives the number of pairs that are done.</param>
    /// <param name="cancel">Gives up.</param>
    /// <returns>One verdict for each pair, in their order.</returns>
    /// <exception cref="InvalidRequestException">The model cannot judge, whatever the pair.</exception>
    public async Task<IReadOnlyList<Verdict>> RunAsync(IReadOnlyList<PreferencePair> pairs, IProgress<int>? progress = null, CancellationToken cancel = default)
    {
        Verdict[] verdicts = new Verdict[pairs.Count];
        int done = 0;
        await Parallel.ForEachAsync(Enumerable.Range(0, pairs.Count), new ParallelOptions { MaxDegreeOfParallelism = atOnce, CancellationToken = cancel }, async (index, token) =>
        {
            PreferencePair pair = pairs[index];
            try
            {
                Preference preference = await model.CompareAsync(pair.Prompt, pair.Chosen, pair.Rejected, token).ConfigureAwait(false);
                verdicts[index] = new Verdict(pair, preference.FirstIsBetter, preference.Consistent);
            }
            catch (InvalidRequestException refused) when (refused.TooLong)
            {
                verdicts[index] = new Verdict(pair, null, Consistent: true);
            }
            progress?.Report(Interlocked.Increment(ref done));
        }).ConfigureAwait(false);
        return verdicts;
    }
}
