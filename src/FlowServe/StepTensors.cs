using System.Numerics;
using XDeepServe.Kernels;
using XDeepServe.Models;

namespace XDeepServe.FlowServe;

/// <summary>
/// The backend tensors that a step reads and writes besides weights and cache, and the host memory they are filled from. Made
/// once, for the largest step; a step takes their fronts. The token table stays on the device: what is sampled feeds the next
/// step from there.
/// </summary>
internal sealed class StepTensors : IDisposable
{
    private const int Reals = 6, Integers = 5;
    private readonly Backend backend;
    private readonly EngineOptions options;
    private readonly IReadOnlyList<int> endIds;
    private readonly Arena arena;
    private readonly Tensor ids, rowSlots, positions;                // I32 [tokens, 1]
    private readonly Tensor starts, contexts, blocks;                // I32 [sequences + 1, 1], [sequences, 1], [sequences, blocks]
    private readonly Tensor secondStarts;                            // I32 [sequences + 1, 1]: of the second micro-batch
    private readonly Tensor logitRows, promptRows, slots, lengths, promptLengths, sampled; // I32 [samples, 1]
    private readonly Tensor reals, integers;                         // F32 [samples, 6], I32 [samples, 5]
    private readonly Tensor biasStarts, biasIds, biasValues;         // I32 [samples + 1, 1], I32 and F32 [entries, 1]
    private readonly Tensor chosen, topIds, topValues;               // F32 [samples, 2], I32 and F32 [samples, k]
    private readonly int[] hostSlots, hostPositions, hostStarts, hostSecondStarts, hostContexts, hostBlocks;
    private readonly int[] hostRows, hostPromptRows, hostRowSlots, hostLengths, hostPromptLengths, hostIntegers, hostBiasStarts;
    private readonly float[] hostReals;
    private readonly List<int> hostBiasIds = [];
    private readonly List<float> hostBiasValues = [];
    private int[] hostIds = [];
    private int tokens, sequences, samples, blockWidth, logprobs;
    private bool uniform; // whether all sequences have equally many rows

    /// <summary>Takes memory for the largest step.</summary>
    public StepTensors(Backend backend, EngineOptions options, int vocabulary, IReadOnlyList<int> endIds)
    {
        (this.backend, this.options, this.endIds) = (backend, options, endIds);
        int most = options.MaxSequences, rows = options.MaxBatchedTokens;
        int maxBlocks = (options.MaxModelLength + options.BlockSize - 1) / options.BlockSize;
        int draws = most * options.SamplesPerSequence;
        int biases = draws * (SamplingParameters.MaxBiases + SamplingParameters.MaxStops + endIds.Count);
        int top = Math.Max(1, Math.Min(options.MaxLogprobs, vocabulary));
        long bytes = Arena.BytesFor(ElementType.I32, most, options.MaxModelLength + 1L) + 3 * Arena.BytesFor(ElementType.I32, rows, 1)
            + Arena.BytesFor(ElementType.I32, most, maxBlocks) + 3 * Arena.BytesFor(ElementType.I32, most + 1, 1) + 7 * Arena.BytesFor(ElementType.I32, draws + 1, 1)
            + Arena.BytesFor(ElementType.F32, draws, Reals) + Arena.BytesFor(ElementType.I32, draws, Integers)
            + 2 * Arena.BytesFor(ElementType.F32, biases, 1) + Arena.BytesFor(ElementType.F32, draws, 2)
            + 2 * Arena.BytesFor(ElementType.F32, draws, top) + Arena.BytesFor(ElementType.F32, draws, vocabulary);
        arena = backend.CreateArena(bytes);
        TokenTable = arena.Allocate(ElementType.I32, most, options.MaxModelLength + 1);
        Tensor Column(int count) => arena.Allocate(ElementType.I32, count, 1);
        (ids, rowSlots, positions) = (Column(rows), Column(rows), Column(rows));
        secondStarts = Column(most + 1);
        (starts, contexts, blocks) = (Column(most + 1), Column(most), arena.Allocate(ElementType.I32, most, maxBlocks));
        (logitRows, promptRows, slots, lengths, promptLengths, sampled) = (Column(draws), Column(draws), Column(draws), Column(draws), Column(draws), Column(draws));
        (reals, integers) = (arena.Allocate(ElementType.F32, draws, Reals), arena.Allocate(ElementType.I32, draws, Integers));
        (biasStarts, biasIds, biasValues) = (Column(draws + 1), Column(biases), arena.Allocate(ElementType.F32, biases, 1));
        chosen = arena.Allocate(ElementType.F32, draws, 2);
        (topIds, topValues) = (arena.Allocate(ElementType.I32, draws, top), arena.Allocate(ElementType.F32, draws, top));
        Logits = arena.Allocate(ElementType.F32, draws, vocabulary);
        (hostSlots, hostPositions, hostStarts, hostSecondStarts, hostContexts) = (new int[rows], new int[rows], new int[most + 1], new int[most + 1], new int[most]);
        (hostBlocks, hostRows, hostPromptRows, hostRowSlots, hostLengths) = (new int[most * maxBlocks], new int[draws], new int[draws], new int[draws], new int[draws]);
        (hostPromptLengths, hostIntegers, hostBiasStarts, hostReals) = (new int[draws], new int[draws * Integers], new int[draws + 1], new float[draws * Reals]);
    }

    /// <summary>I32 <c>[sequences, longest + 1]</c>: the tokens of every sequence.</summary>
    public Tensor TokenTable { get; }

    /// <summary>F32 <c>[samples, vocabulary]</c>.</summary>
    public Tensor Logits { get; }

    /// <summary>Names the shape of a step in which all sequences have equally many rows and sample behind each; null for any other step.</summary>
    public long? DecodeShape => tokens == samples && sequences > 0 && uniform ? (long)sequences << 32 | (uint)(tokens / sequences - 1) << 24 | (uint)blockWidth : null;

    /// <summary>Where the step's rows belong.</summary>
    public PagedBatch Batch => new(
        positions.Take(tokens), starts.Take(sequences + 1), contexts.Take(sequences),
        new Tensor(blocks.Address, ElementType.I32, sequences, blockWidth, blockWidth), options.BlockSize);

    /// <summary>Whether the step has sequences enough for two micro-batches.</summary>
    public bool CanSplit => sequences > 1;

    /// <summary>Rows of the two micro-batches; the first has all if the step is not split.</summary>
    public (int First, int Second) RowsOf(bool split)
    {
        int first = split ? hostStarts[SplitAt()] : tokens;
        return (first, tokens - first);
    }

    /// <summary>The step as two micro-batches of whole sequences, as even as they get; the second is empty if it is not split. Uploads.</summary>
    public MicroBatches Halves(bool split)
    {
        int at = split ? SplitAt() : sequences, rest = sequences - at, row = hostStarts[at];
        for (int i = 0; i <= rest; i++)
            hostSecondStarts[i] = hostStarts[at + i] - row;
        backend.Upload<int>(secondStarts, hostSecondStarts.AsSpan(0, rest + 1));
        PagedBatch whole = Batch;
        return new MicroBatches(
            whole with { Positions = whole.Positions.Take(row), QueryStarts = whole.QueryStarts.Take(at + 1), Contexts = whole.Contexts.Take(at), Blocks = whole.Blocks.Take(at) },
            whole with
            {
                Positions = whole.Positions.Slice(row, tokens - row),
                QueryStarts = secondStarts.Take(rest + 1),
                Contexts = whole.Contexts.Slice(at, rest),
                Blocks = whole.Blocks.Slice(at, rest),
            });
    }

    /// <summary>Rows of the step behind which a token is sampled.</summary>
    public Tensor SampledRows => logitRows.Take(samples);

    /// <summary>F32 <c>[samples, vocabulary]</c>: their logits.</summary>
    public Tensor SampledLogits => Logits.Take(samples);

    /// <summary>Receives the sampled ids.</summary>
    public Tensor SampledIds => sampled.Take(samples);

    /// <summary>How to sample.</summary>
    public SamplingBatch Sampling => new(
        slots.Take(samples), lengths.Take(samples), promptLengths.Take(samples), TokenTable, reals.Take(samples), integers.Take(samples),
        biasStarts.Take(samples + 1), biasIds, biasValues);

    /// <summary>Fills the tensors for a step.</summary>
    public void Upload(StepPlan plan)
    {
        (tokens, sequences, samples, logprobs, uniform) = (0, 0, 0, -1, true);
        hostBiasIds.Clear();
        hostBiasValues.Clear();
        blockWidth = 1;
        foreach (PlannedWork work in plan.Entries)
            blockWidth = Math.Max(blockWidth, Blocks(work.Length));
        // Few different widths, so that few shapes of a step are ever recorded.
        blockWidth = Math.Min((int)BitOperations.RoundUpToPowerOf2((uint)blockWidth), blocks.Columns);
        foreach (PlannedWork work in plan.Entries)
        {
            Sequence sequence = work.Sequence;
            int slot = plan.Slot(sequences);
            if (work.Admitted)
                backend.Upload<int>(TokenTable.Slice(slot, 1), sequence.Initial);
            uniform &= work.Count == plan.Entries[0].Count;
            ReadOnlySpan<int> proposed = plan.Proposed(sequences);
            if (proposed.Length > 0)
                backend.Upload(TokenTable.Slice(slot, 1).Cut(work.Length - work.Drafts, work.Drafts), proposed);
            hostStarts[sequences] = tokens;
            hostContexts[sequences] = work.Length;
            plan.Blocks(sequences)[..Blocks(work.Length)].CopyTo(hostBlocks.AsSpan(sequences++ * blockWidth));
            hostSlots.AsSpan(tokens, work.Count).Fill(slot);
            for (int i = 0; i < work.Count; i++)
                hostPositions[tokens + i] = work.Start + i;
            tokens += work.Count;
            for (int draft = work.Samples ? 0 : int.MaxValue; draft <= work.Drafts; draft++)
                AddSample(work, slot, work.Drafts - draft);
        }
        hostStarts[sequences] = tokens;
        hostBiasStarts[samples] = hostBiasIds.Count;
        backend.Upload<int>(rowSlots, hostSlots.AsSpan(0, tokens));
        backend.Upload<int>(positions, hostPositions.AsSpan(0, tokens));
        backend.Upload<int>(starts, hostStarts.AsSpan(0, sequences + 1));
        backend.Upload<int>(contexts, hostContexts.AsSpan(0, sequences));
        backend.Upload<int>(blocks, hostBlocks.AsSpan(0, sequences * blockWidth));
        if (samples > 0)
            UploadSampling();
    }

    /// <summary>The step's token ids, from the table.</summary>
    public Tensor GatherIds()
    {
        backend.GatherTokens(ids.Take(tokens), TokenTable, rowSlots.Take(tokens), positions.Take(tokens));
        return ids.Take(tokens);
    }

    /// <summary>The numbers of some neighbouring rows, as a tensor.</summary>
    public Tensor Rows(int first, int count)
    {
        for (int i = 0; i < count; i++)
            hostPromptRows[i] = first + i;
        backend.Upload<int>(promptRows, hostPromptRows.AsSpan(0, count));
        return promptRows.Take(count);
    }

    /// <summary>Starts bringing a step's samples to the host; false if they must be waited for, since more than ids is read. Then <see cref="EndDownload"/>.</summary>
    public bool TryBeginDownload(StepPlan plan) => logprobs < 0 && plan.Drafts == 0 && backend.TryBeginDownload<int>(sampled, samples);

    /// <summary>Waits for the oldest samples that were begun. The tensors may be another step's by now.</summary>
    public void EndDownload(StepPlan plan)
    {
        StepResults results = plan.Results;
        MakeRoom(results, plan.Samples);
        results.TopCount = 0;
        backend.EndDownload<int>(results.Ids.AsSpan(0, plan.Samples));
        Accept(plan, results);
    }

    /// <summary>Brings a step's samples to the host, with log-probabilities if some sequence wants them.</summary>
    public void Download(StepPlan plan, Tensor logits)
    {
        StepResults results = plan.Results;
        MakeRoom(results, samples);
        if (logprobs >= 0)
        {
            Score(logits, SampledIds, logprobs);
            (results.Chosen, results.TopIds, results.TopValues) = (new float[samples * 2], new int[samples * logprobs], new float[samples * logprobs]);
            backend.Download<float>(chosen, results.Chosen);
            backend.Download<int>(Top(topIds, samples, logprobs), results.TopIds);
            backend.Download<float>(Top(topValues, samples, logprobs), results.TopValues);
        }
        results.TopCount = Math.Max(0, logprobs);
        backend.Download<int>(sampled, results.Ids.AsSpan(0, samples));
        Accept(plan, results);
    }

    private void MakeRoom(StepResults results, int count)
    {
        if (results.Ids.Length < count)
            (results.Ids, results.Accepted) = (new int[Logits.Rows], new int[options.MaxSequences]);
    }

    /// <summary>Proposed tokens stand as far as they equal what was sampled in their places.</summary>
    private void Accept(StepPlan plan, StepResults results)
    {
        if (plan.Drafts > 0)
        {
            if (hostIds.Length < tokens)
                hostIds = new int[options.MaxBatchedTokens];
            backend.Download<int>(ids, hostIds.AsSpan(0, tokens));
        }
        int row = 0, sample = 0, place = 0;
        foreach (PlannedWork work in plan.Entries)
        {
            row += work.Count;
            if (!work.Samples)
                continue;
            int accepted = 0;
            while (accepted < work.Drafts && hostIds[row - work.Drafts + accepted] == results.Ids[sample + accepted])
                accepted++;
            results.Accepted[place++] = accepted;
            sample += 1 + work.Drafts;
        }
    }

    /// <summary>Scores the prompt tokens behind some positions.</summary>
    public void ScorePrompt(StepResults results, Sequence sequence, int position, int count, int top, Tensor logits)
    {
        int[] wanted = sequence.Request.Prompt.AsSpan(position + 1, count).ToArray();
        backend.Upload<int>(sampled, wanted);
        Score(logits, sampled.Take(count), top);
        (float[] scores, int[] best, float[] values) = (new float[count * 2], new int[count * top], new float[count * top]);
        backend.Download<float>(chosen, scores);
        backend.Download<int>(Top(topIds, count, top), best);
        backend.Download<float>(Top(topValues, count, top), values);
        for (int i = 0; i < count; i++)
            results.Prompt.Add((sequence, position + 1 + i, Entry(wanted[i], scores, best, values, i, top, top)));
    }

    /// <summary>One token's log-probabilities out of downloaded rows.</summary>
    public static TokenLogprob Entry(int id, float[] chosen, int[] topIds, float[] topValues, int row, int width, int count)
    {
        (int Id, float Logprob)[] best = new (int, float)[count];
        for (int k = 0; k < count; k++)
            best[k] = (topIds[row * width + k], topValues[row * width + k]);
        return new TokenLogprob(id, chosen[2 * row], (int)chosen[2 * row + 1], best);
    }

    /// <inheritdoc/>
    public void Dispose() => arena.Dispose();

    /// <summary>The sequence with which the second micro-batch begins.</summary>
    private int SplitAt()
    {
        int at = 1;
        while (at + 1 < sequences && Math.Abs((2 * hostStarts[at + 1]) - tokens) < Math.Abs((2 * hostStarts[at]) - tokens))
            at++;
        return at;
    }

    private int Blocks(int positions) => (positions + options.BlockSize - 1) / options.BlockSize;

    private static Tensor Top(Tensor tensor, int rows, int count) => new(tensor.Address, tensor.Type, rows, count, count);

    private void Score(Tensor logits, Tensor wanted, int top) => backend.LogProbabilities(
        chosen.Take(wanted.Rows), top == 0 ? default : Top(topIds, wanted.Rows, top), top == 0 ? default : Top(topValues, wanted.Rows, top), logits, wanted);

    /// <summary>Adds the row that stands <paramref name="before"/> rows before the sequence's last.</summary>
    private void AddSample(PlannedWork work, int slot, int before)
    {
        SamplingParameters sampling = work.Sequence.Request.Sampling;
        int length = work.Length - before, produced = length - work.Sequence.PromptLength;
        (hostRows[samples], hostRowSlots[samples], hostLengths[samples], hostPromptLengths[samples]) = (tokens - 1 - before, slot, length, work.Sequence.PromptLength);
        Span<float> real = hostReals.AsSpan(samples * Reals, Reals);
        real[0] = sampling.Temperature < 1e-5 ? 0 : (float)sampling.Temperature;
        real[1] = (float)sampling.TopP;
        real[2] = (float)sampling.MinP;
        real[3] = (float)sampling.RepetitionPenalty;
        real[4] = (float)sampling.PresencePenalty;
        real[5] = (float)sampling.FrequencyPenalty;
        Span<int> integer = hostIntegers.AsSpan(samples * Integers, Integers);
        integer[0] = Math.Max(0, sampling.TopK);
        integer[1] = (int)(uint)work.Sequence.Seed;
        integer[2] = (int)(uint)(work.Sequence.Seed >> 32);
        integer[3] = produced;
        integer[4] = sampling.RepetitionPenalty != 1 || sampling.PresencePenalty != 0 || sampling.FrequencyPenalty != 0 ? 1 : 0;
        hostBiasStarts[samples++] = hostBiasIds.Count;
        for (int i = 0; i < sampling.LogitBias.Count; i++)
            AddBias(sampling.LogitBias[i].Id, sampling.LogitBias[i].Bias);
        if (produced < sampling.MinTokens)
        {
            for (int i = 0; i < endIds.Count; i++)
                AddBias(endIds[i], float.NegativeInfinity);
            for (int i = 0; i < sampling.StopTokenIds.Count; i++)
                AddBias(sampling.StopTokenIds[i], float.NegativeInfinity);
        }
        if (sampling.Logprobs is { } top)
            logprobs = Math.Max(logprobs, top);
    }

    private void AddBias(int id, float value)
    {
        hostBiasIds.Add(id);
        hostBiasValues.Add(value);
    }

    private void UploadSampling()
    {
        backend.Upload<int>(logitRows, hostRows.AsSpan(0, samples));
        backend.Upload<int>(slots, hostRowSlots.AsSpan(0, samples));
        backend.Upload<int>(lengths, hostLengths.AsSpan(0, samples));
        backend.Upload<int>(promptLengths, hostPromptLengths.AsSpan(0, samples));
        backend.Upload<float>(reals, hostReals.AsSpan(0, samples * Reals));
        backend.Upload<int>(integers, hostIntegers.AsSpan(0, samples * Integers));
        backend.Upload<int>(biasStarts, hostBiasStarts.AsSpan(0, samples + 1));
        backend.Upload<int>(biasIds, System.Runtime.InteropServices.CollectionsMarshal.AsSpan(hostBiasIds));
        backend.Upload<float>(biasValues, System.Runtime.InteropServices.CollectionsMarshal.AsSpan(hostBiasValues));
    }
}
