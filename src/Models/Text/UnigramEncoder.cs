using System.Buffers;

namespace XDeepServe.Models.Text;

/// <summary>
/// Cuts a piece into the tokens whose scores have the greatest sum, going once over its bytes and keeping the best way to
/// each place. Work per byte is bounded by the longest token.
/// </summary>
internal sealed class UnigramEncoder : PieceEncoder
{
    private const double UnknownPenalty = 10; // below the lowest score of the vocabulary

    private readonly UnigramModel model;
    private readonly ByteTrie trie = new();
    private readonly double unknownScore;
    private readonly int[] fallbackIds;

    /// <summary>Makes an encoder.</summary>
    /// <param name="model">The vocabulary, complete.</param>
    public UnigramEncoder(UnigramModel model)
    {
        this.model = model;
        for (var id = 0; id < model.Scores.Count; id++)
            if (!model.Tokens[id].IsEmpty)
                trie.Add(model.Tokens[id], id);
        unknownScore = model.Scores.DefaultIfEmpty(0).Min() - UnknownPenalty;
        fallbackIds = model.FallbackIds();
    }

    /// <inheritdoc/>
    protected override void Encode(ReadOnlySpan<byte> bytes, IdList ids)
    {
        var steps = ArrayPool<Step>.Shared.Rent(bytes.Length + 1);
        try
        {
            var best = steps.AsSpan(0, bytes.Length + 1);
            best.Fill(new Step(-1, -1, 0));
            FindBest(bytes, best);
            ReadBack(bytes, best, ids);
        }
        finally
        {
            ArrayPool<Step>.Shared.Return(steps);
        }
    }

    private void FindBest(ReadOnlySpan<byte> bytes, Span<Step> best)
    {
        for (int start = 0, length; start < bytes.Length; start += length)
        {
            length = CharacterLength(bytes[start]);
            var score = best[start].Score;
            var single = false; // a token is this very character
            for (int end = start, node = 0; end < bytes.Length && (node = trie.Child(node, bytes[end])) != 0;)
            {
                end++;
                if (trie.Id(node) is not (>= 0 and var id))
                    continue;
                Offer(ref best[end], new Step(start, id == model.UnknownId ? -1 : id, score + model.Scores[id]));
                single |= end - start == length;
            }
            if (!single)
                Offer(ref best[start + length], new Step(start, -1, score + unknownScore));
        }

        static void Offer(ref Step best, Step step)
        {
            if (best.Start < 0 || step.Score > best.Score)
                best = step;
        }
    }

    /// <summary>Follows the best way back and writes it forward; neighbouring unknown characters become one.</summary>
    private void ReadBack(ReadOnlySpan<byte> bytes, Span<Step> best, IdList ids)
    {
        // Each step found from its end is marked at its start, by turning the links round.
        var next = -1;
        for (int end = bytes.Length, start; end > 0; end = start)
        {
            start = best[end].Start;
            best[end] = best[end] with { Start = next }; // from here on: where the step behind it ends
            next = end;
        }
        for (int start = 0, end = next; end > 0;)
        {
            var id = best[end].Id;
            while (id < 0 && best[end].Start is > 0 and var following && best[following].Id < 0)
                end = following;
            if (id < 0)
                AddUnknown(bytes[start..end], ids);
            else
                ids.Add(id);
            (start, end) = (end, best[end].Start);
        }
    }

    private void AddUnknown(ReadOnlySpan<byte> text, IdList ids)
    {
        var covered = true;
        foreach (var value in text)
            covered &= fallbackIds[value] >= 0;
        if (model.Tokens.Find(text) is >= 0 and var id)
            ids.Add(id);
        else if (covered)
            foreach (var value in text)
                ids.Add(fallbackIds[value]);
        else if (model.UnknownId >= 0)
            ids.Add(model.UnknownId);
    }

    /// <summary>The best way to a place.</summary>
    /// <param name="Start">Where its last token begins; -1: no way was found yet.</param>
    /// <param name="Id">That token; -1: an unknown character.</param>
    /// <param name="Score">The sum of the scores.</param>
    private readonly record struct Step(int Start, int Id, double Score);
}
