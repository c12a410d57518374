using System.Numerics;
using XDeepServe.Kernels;

namespace XDeepServe.FlowServe.Speculating;

/// <summary>
/// The tensors of drafting: a first pass over rows that the drafter has not seen, then passes with one row for each sequence that
/// drafts. Made once, for the largest step. Tokens are read from the token table and drafts written there, so that the passes
/// follow each other without the host.
/// </summary>
internal sealed class DraftBatch : IDisposable
{
    private readonly Backend backend;
    private readonly Arena arena;
    private readonly int blockSize;
    private readonly Tensor rows, ids, slots, positions, columns;   // I32 [rows, 1]
    private readonly Tensor starts, contexts, blocks;               // I32 [sequences + 1, 1], [sequences, 1], [sequences, blocks]
    private readonly Tensor last, draftSlots, lengths, prompts, drafts; // I32 [sequences, 1]
    private readonly Tensor zeros, reals, integers, noIds, noValues; // I32 [sequences + 1, 1], F32 [sequences, 6], I32 [sequences, 5], empty lists
    private readonly int[] hostRows, hostSlots, hostPositions, hostColumns, hostStarts, hostContexts, hostBlocks, hostLast, hostDraftSlots, hostLengths, hostPrompts, order;
    private readonly int[] chainPositions, chainColumns, chainContexts, chainStarts, chainBlocks, chainRows;
    private readonly float[] hostReals;
    private readonly int[] hostIntegers;
    private int count, sequences, width, height, drafting; // height: rows of each sequence; 0 if they differ

    /// <summary>Takes memory.</summary>
    /// <param name="backend">The backend.</param>
    /// <param name="options">Sizes.</param>
    /// <param name="mostRows">Most rows of the first pass.</param>
    /// <param name="vocabulary">Columns of logits.</param>
    public DraftBatch(Backend backend, EngineOptions options, int mostRows, int vocabulary)
    {
        (this.backend, blockSize) = (backend, options.BlockSize);
        int most = options.MaxSequences, mostBlocks = (options.MaxModelLength + blockSize - 1) / blockSize;
        arena = backend.CreateArena(
            5 * Arena.BytesFor(ElementType.I32, mostRows, 1) + 8 * Arena.BytesFor(ElementType.I32, most + 1, 1) + 2 * Arena.BytesFor(ElementType.I32, 1, 1)
            + Arena.BytesFor(ElementType.I32, most, mostBlocks) + Arena.BytesFor(ElementType.F32, most, 6) + Arena.BytesFor(ElementType.I32, most, 5)
            + Arena.BytesFor(ElementType.F32, most, vocabulary));
        Tensor Column(int height) => arena.Allocate(ElementType.I32, height, 1);
        (rows, ids, slots, positions, columns) = (Column(mostRows), Column(mostRows), Column(mostRows), Column(mostRows), Column(mostRows));
        (starts, contexts, blocks) = (Column(most + 1), Column(most), arena.Allocate(ElementType.I32, most, mostBlocks));
        (last, draftSlots, lengths, prompts, drafts, zeros) = (Column(most), Column(most), Column(most), Column(most), Column(most), Column(most + 1));
        (reals, integers) = (arena.Allocate(ElementType.F32, most, 6), arena.Allocate(ElementType.I32, most, 5));
        (noIds, noValues) = (Column(1), arena.Allocate(ElementType.F32, 1, 1));
        Logits = arena.Allocate(ElementType.F32, most, vocabulary);
        backend.Upload<int>(zeros, new int[most + 1]);
        (hostRows, hostSlots, hostPositions, hostColumns) = (new int[mostRows], new int[mostRows], new int[mostRows], new int[mostRows]);
        (hostStarts, hostContexts, hostBlocks) = (new int[most + 1], new int[most], new int[most * mostBlocks]);
        (hostLast, hostDraftSlots, hostLengths, hostPrompts, order) = (new int[most], new int[most], new int[most], new int[most], new int[most]);
        (chainPositions, chainColumns, chainContexts, chainStarts) = (new int[most], new int[most], new int[most], [.. Enumerable.Range(0, most + 1)]);
        (hostReals, hostIntegers) = (new float[6 * most], new int[5 * most]);
        (chainBlocks, chainRows) = (new int[most * mostBlocks], new int[most]);
    }

    /// <summary>F32 <c>[sequences, vocabulary]</c>: room for a pass's logits.</summary>
    public Tensor Logits { get; }

    /// <summary>Rows of the pass.</summary>
    public int Count => count;

    /// <summary>Sequences that draft.</summary>
    public int Drafting => drafting;

    /// <summary>Names the shape of a pass in which all sequences have equally many rows and draft; null for any other. No step's shape has this name.</summary>
    public long? Shape => height > 0 && drafting == sequences ? 1L << 62 | (long)sequences << 32 | (uint)(height - 1) << 24 | (uint)width : null;

    /// <summary>Rows of the last pass that this pass's rows follow.</summary>
    public Tensor Rows => rows.Take(count);

    /// <summary>Rows of the pass behind which a token is drafted.</summary>
    public Tensor Last => last.Take(drafting);

    /// <summary>Where the pass's rows belong.</summary>
    public PagedBatch Paged => new(
        positions.Take(count), starts.Take(sequences + 1), contexts.Take(sequences), new Tensor(blocks.Address, ElementType.I32, sequences, width, width), blockSize);

    /// <summary>Begins a step; blocks of sequences up to this length are used.</summary>
    public void Clear(int longest)
    {
        (count, sequences, drafting) = (0, 0, 0);
        // Few different widths, as in the step itself.
        width = Math.Min((int)BitOperations.RoundUpToPowerOf2((uint)((longest + blockSize - 1) / blockSize)), blocks.Columns);
    }

    /// <summary>Adds a sequence's rows to the first pass.</summary>
    /// <param name="sequence">The sequence.</param>
    /// <param name="slot">Its row of the token table.</param>
    /// <param name="owned">Its cache blocks.</param>
    /// <param name="row">Row of the step that its first row follows.</param>
    /// <param name="position">Position of its first row.</param>
    /// <param name="rowCount">Rows.</param>
    /// <param name="settled">How many of them stand; the last of those is what is drafted behind.</param>
    /// <param name="ahead">Columns of the token table between a row's position and its token.</param>
    /// <param name="length">Its tokens, if it drafts behind the last of the rows; else 0.</param>
    public void Add(Sequence sequence, int slot, ReadOnlySpan<int> owned, int row, int position, int rowCount, int settled, int ahead, int length)
    {
        hostStarts[sequences] = count;
        height = sequences == 0 || height == rowCount ? rowCount : 0;
        int end = position + settled - 1;
        if (length > 0)
            hostLast[drafting] = count + settled - 1;
        for (int i = 0; i < rowCount; i++, count++)
            (hostRows[count], hostSlots[count], hostPositions[count], hostColumns[count]) = (row + i, slot, position + i, position + i + ahead);
        hostContexts[sequences] = position + rowCount;
        owned[..Math.Min(owned.Length, width)].CopyTo(hostBlocks.AsSpan(sequences * width));
        if (length > 0)
        {
            order[drafting] = sequences;
            (hostDraftSlots[drafting], hostLengths[drafting]) = (slot, length);
            (chainPositions[drafting], chainColumns[drafting]) = (end, end + ahead);
            SetSampling(sequence, length);
            drafting++;
        }
        hostStarts[++sequences] = count;
    }

    /// <summary>Brings the first pass to the device.</summary>
    public void Upload()
    {
        backend.Upload<int>(rows, hostRows.AsSpan(0, count));
        backend.Upload<int>(slots, hostSlots.AsSpan(0, count));
        backend.Upload<int>(positions, hostPositions.AsSpan(0, count));
        backend.Upload<int>(columns, hostColumns.AsSpan(0, count));
        backend.Upload<int>(starts, hostStarts.AsSpan(0, sequences + 1));
        backend.Upload<int>(contexts, hostContexts.AsSpan(0, sequences));
        backend.Upload<int>(blocks, hostBlocks.AsSpan(0, sequences * width));
        backend.Upload<int>(last, hostLast.AsSpan(0, drafting));
        backend.Upload<int>(draftSlots, hostDraftSlots.AsSpan(0, drafting));
        backend.Upload<int>(lengths, hostLengths.AsSpan(0, drafting));
        backend.Upload<int>(prompts, hostPrompts.AsSpan(0, drafting));
        backend.Upload<float>(reals, hostReals.AsSpan(0, 6 * drafting));
        backend.Upload<int>(integers, hostIntegers.AsSpan(0, 5 * drafting));
    }

    /// <summary>The pass's token ids, from the table.</summary>
    public Tensor GatherIds(Tensor tokenTable)
    {
        backend.GatherTokens(ids.Take(count), tokenTable, slots.Take(count), columns.Take(count));
        return ids.Take(count);
    }

    /// <summary>
    /// Drafts tokens from the logits' rows, into the table. Draws are those with which the model will sample in their places: where both
    /// think alike, they hit the same token.
    /// </summary>
    public void Choose(Tensor tokenTable)
    {
        SamplingBatch sampling = new(
            draftSlots.Take(drafting), lengths.Take(drafting), prompts.Take(drafting), tokenTable, reals.Take(drafting), integers.Take(drafting),
            zeros.Take(drafting + 1), noIds, noValues);
        backend.Sample(drafts.Take(drafting), Logits.Take(drafting), sampling);
    }

    /// <summary>Brings the next pass to the device: one row behind the last of each sequence that drafts.</summary>
    public void Chain()
    {
        for (int i = 0; i < drafting; i++)
        {
            chainRows[i] = hostLast[i];
            hostLast[i] = i;
            chainContexts[i] = ++chainPositions[i] + 1;
            chainColumns[i]++;
            hostLengths[i]++;
            hostIntegers[5 * i + 3]++;
        }
        backend.Upload<int>(rows, chainRows.AsSpan(0, drafting));
        backend.Upload<int>(positions, chainPositions.AsSpan(0, drafting));
        backend.Upload<int>(columns, chainColumns.AsSpan(0, drafting));
        backend.Upload<int>(contexts, chainContexts.AsSpan(0, drafting));
        backend.Upload<int>(last, hostLast.AsSpan(0, drafting));
        backend.Upload<int>(lengths, hostLengths.AsSpan(0, drafting));
        backend.Upload<int>(integers, hostIntegers.AsSpan(0, 5 * drafting));
        if (sequences != drafting || count != drafting)
        {
            // Leaves out what does not draft; from the second chained pass on all is in place.
            for (int i = 0; i < drafting; i++)
                hostBlocks.AsSpan(order[i] * width, width).CopyTo(chainBlocks.AsSpan(i * width));
            backend.Upload<int>(blocks, chainBlocks.AsSpan(0, drafting * width));
            backend.Upload<int>(slots, hostDraftSlots.AsSpan(0, drafting));
            backend.Upload<int>(starts, chainStarts.AsSpan(0, drafting + 1));
        }
        (count, sequences, height) = (drafting, drafting, 1);
    }

    private void SetSampling(Sequence sequence, int length)
    {
        SamplingParameters asked = sequence.Request.Sampling;
        Span<float> real = hostReals.AsSpan(6 * drafting, 6);
        (real[0], real[1], real[2]) = (asked.Temperature < 1e-5 ? 0 : (float)asked.Temperature, (float)asked.TopP, (float)asked.MinP);
        (real[3], real[4], real[5]) = ((float)asked.RepetitionPenalty, (float)asked.PresencePenalty, (float)asked.FrequencyPenalty);
        Span<int> integer = hostIntegers.AsSpan(5 * drafting, 5);
        (integer[0], integer[1], integer[2], integer[3]) = (Math.Max(0, asked.TopK), (int)(uint)sequence.Seed, (int)(uint)(sequence.Seed >> 32), length - sequence.PromptLength);
        integer[4] = asked is { RepetitionPenalty: 1, PresencePenalty: 0, FrequencyPenalty: 0 } ? 0 : 1;
        hostPrompts[drafting] = sequence.PromptLength;
    }

    /// <inheritdoc/>
    public void Dispose() => arena.Dispose();
}
