using XDeepServe.Xccl.Exchanges;

namespace XDeepServe.Xccl.Tokens;

/// <summary>Sums the expert rows of each token, read where the experts' ranks have written them.</summary>
/// <param name="exchange">The channel; its sources are the targets of the dispatch.</param>
/// <param name="shape">Shape of the rows.</param>
internal sealed unsafe class CombineReceiver(Exchange exchange, TokenShape shape)
{
    private readonly RowFormat format = shape.Combine;

    /// <summary>Address of the row for (token, k); only when all blocks have arrived.</summary>
    public byte* Row(RoutePlan plan, int token, int k) =>
        exchange.Arrived(plan.Consumer(plan.Slot(token, k))) + ((long)plan.Place(token, k) * format.WireBytes);

    /// <exception cref="ArgumentException">There are too few gates or there is too little room.</exception>
    public void Check(RoutePlan plan, ReadOnlySpan<float> gates, ReadOnlySpan<float> combined)
    {
        if (gates.Length < plan.Tokens * shape.TopK || combined.Length < (long)plan.Tokens * shape.Hidden)
            throw new ArgumentException($"{plan.Tokens} tokens need {plan.Tokens * shape.TopK} gates and room for {(long)plan.Tokens * shape.Hidden} values.");
    }

    /// <summary>combined[t, :] = Σ gates[t, k] · rows[t, k], in order of k, in single precision, whatever came first.</summary>
    /// <param name="plan">Of the dispatch.</param>
    /// <param name="gates">[tokens, topK]</param>
    /// <param name="combined">[tokens, hidden]</param>
    /// <param name="own">The consumer whose rows have not travelled, because this rank has them; -1 for none.</param>
    /// <param name="ownRows">[rows, topK, hidden]: that consumer's rows for this rank's tokens, as on the way.</param>
    public void Sum(RoutePlan plan, ReadOnlySpan<float> gates, Span<float> combined, int own = -1, byte* ownRows = null)
    {
        Check(plan, gates, combined);
        byte** rows = stackalloc byte*[shape.TopK];
        float* weights = stackalloc float[shape.TopK];
        fixed (float* target = combined)
        {
            for (int token = 0; token < plan.Tokens; token++)
            {
                int count = 0;
                for (int k = 0; k < shape.TopK; k++)
                {
                    if (plan.Slot(token, k) < 0)
                        continue;
                    rows[count] = plan.Consumer(plan.Slot(token, k)) == own
                        ? ownRows + ((((long)plan.RowOf(token, k) * shape.TopK) + k) * format.ElementBytes)
                        : Row(plan, token, k);
                    weights[count++] = gates[(token * shape.TopK) + k];
                }
                RowSum.Run(target + ((long)token * shape.Hidden), rows, weights, count, format);
            }
        }
    }

    /// <summary>Bytes of the announced blocks that lie with other ranks.</summary>
    public long Moved(int ownRank)
    {
        long moved = 0;
        for (int source = 0; source < exchange.Sources.Length; source++)
            if (exchange.Sources[source] != ownRank)
                moved += exchange.Head(source).Bytes;
        return moved;
    }
}
