namespace XDeepServe.Kernels;

/// <summary>
/// What the sampler needs for each row, in backend memory. One row of each tensor per row of logits.
/// </summary>
/// <param name="Slots">I32 <c>[rows, 1]</c>: row of <paramref name="Tokens"/> that belongs to the sequence.</param>
/// <param name="Lengths">I32 <c>[rows, 1]</c>: tokens of the sequence so far (prompt and output); the sampled one goes to this column of <paramref name="Tokens"/>.</param>
/// <param name="PromptLengths">I32 <c>[rows, 1]</c>: how many of them are prompt (presence and frequency count output alone).</param>
/// <param name="Tokens">I32 <c>[slots, longest sequence + 1]</c>: all tokens of every sequence in flight.</param>
/// <param name="Reals">F32 <c>[rows, 6]</c>: temperature (0: greedy), top-p, min-p, repetition, presence, frequency penalty.</param>
/// <param name="Integers">I32 <c>[rows, 5]</c>: top-k (0: all), seed low word, seed high word, index of the output token (counts the random stream), 1 if any penalty is set.</param>
/// <param name="BiasStarts">I32 <c>[rows + 1, 1]</c>: first entry of each row in the bias lists.</param>
/// <param name="BiasIds">I32 <c>[entries, 1]</c>: token ids.</param>
/// <param name="BiasValues">F32 <c>[entries, 1]</c>: added to the logit; negative infinity bans the token.</param>
public readonly record struct SamplingBatch(
    Tensor Slots, Tensor Lengths, Tensor PromptLengths, Tensor Tokens, Tensor Reals, Tensor Integers,
    Tensor BiasStarts, Tensor BiasIds, Tensor BiasValues);
