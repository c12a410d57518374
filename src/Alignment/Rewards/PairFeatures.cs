using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;
using XDeepServe.FlowServe;
using XDeepServe.Models.Text;

namespace XDeepServe.Alignment.Rewards;

/// <summary>Makes features of preference pairs with an engine: prefill alone, batched by its scheduler.</summary>
/// <param name="reader">Runs the model.</param>
/// <param name="tokenizer">The model's.</param>
/// <param name="rewards">For <see cref="PairFeature.Reward"/>; else unused.</param>
public sealed class PairFeatures(PromptReader reader, Tokenizer tokenizer, IRewardModel rewards)
{
    /// <summary>The feature of one pair; the chosen answer stands first, so that features can be compared.</summary>
    /// <exception cref="InvalidRequestException">The pair does not fit the model.</exception>
    /// <exception cref="ArgumentException">The model does not represent preferences.</exception>
    public async Task<float[]> ReadAsync(PreferencePair pair, PairFeature feature, CancellationToken cancel = default)
    {
        switch (feature)
        {
            case PairFeature.Preference:
                return [.. await reader.ReadAsync(PreferencePrompt.Encode(tokenizer, pair.Prompt, pair.Chosen, pair.Rejected), Readout.LastHidden, cancel).ConfigureAwait(false)];
            case PairFeature.Embedding:
                return [.. await reader.ReadAsync(PreferencePrompt.EncodeText(tokenizer, pair.Prompt, pair.Chosen, pair.Rejected), Readout.MeanHidden, cancel).ConfigureAwait(false)];
            default:
                IReadOnlyList<double> scores = await rewards.ScoreAsync(pair.Prompt, [pair.Chosen, pair.Rejected], cancel).ConfigureAwait(false);
                return [(float)(scores[0] - scores[1])];
        }
    }

    /// <summary>The features of many pairs, in their order.</summary>
    /// <param name="pairs">The pairs.</param>
    /// <param name="feature">Of which kind.</param>
    /// <param name="atOnce">Pairs under way at once.</param>
    /// <param name="progress">Receives the number of pairs that are done.</param>
    /// <param name="cancel">Gives up.</param>
    /// <returns>For each pair its feature; null if it does not fit the model.</returns>
    public async Task<IReadOnlyList<float[]?>> ReadAllAsync(IReadOnlyList<PreferencePair> pairs, PairFeature feature, int atOnce = 64, IProgress<int>? progress = null, CancellationToken cancel = default)
    {
        float[]?[] read = new float[]?[pairs.Count];
        int done = 0;
        await Parallel.ForEachAsync(Enumerable.Range(0, pairs.Count), new ParallelOptions { MaxDegreeOfParallelism = atOnce, CancellationToken = cancel }, async (index, token) =>
        {
            try
            {
                read[index] = await ReadAsync(pairs[index], feature, token).ConfigureAwait(false);
            }
            catch (InvalidRequestException refused) when (refused.TooLong)
            {
                read[index] = null;
            }
            progress?.Report(Interlocked.Increment(ref done));
        }).ConfigureAwait(false);
        return read;
    }
}
