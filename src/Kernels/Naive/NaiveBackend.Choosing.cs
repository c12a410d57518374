namespace XDeepServe.Kernels.Naive;

public sealed unsafe partial class NaiveBackend
{
    /// <inheritdoc/>
    public override void Route(Tensor ids, Tensor gates, Tensor logits, Tensor bias, RoutingRule rule)
    {
        int experts = logits.Columns, perGroup = experts / rule.Groups;
        for (int row = 0; row < logits.Rows; row++)
        {
            double[] scores = new double[experts];
            double most = Enumerable.Range(0, experts).Max(i => (double)logits.Get(row, i));
            for (int i = 0; i < experts; i++)
                scores[i] = rule.Sigmoid ? 1 / (1 + Math.Exp(-(double)logits.Get(row, i))) : Math.Exp(logits.Get(row, i) - most);
            if (!rule.Sigmoid)
            {
                double sum = scores.Sum();
                for (int i = 0; i < experts; i++)
                    scores[i] /= sum;
            }
            double Biased(int expert) => (float)scores[expert] + (bias.IsEmpty ? 0f : bias.Get(0, expert));
            HashSet<int> groups = [.. Enumerable.Range(0, rule.Groups)
                .OrderByDescending(group => Enumerable.Range(group * perGroup, perGroup).Select(Biased).OrderDescending().Take(rule.GroupTerms).Sum())
                .Take(rule.TopGroups)];
            int[] chosen = [.. Enumerable.Range(0, experts).Where(i => groups.Contains(i / perGroup)).OrderByDescending(Biased).Take(rule.TopK)];
            double total = rule.Normalize ? chosen.Sum(i => scores[i]) + 1e-20 : 1;
            for (int k = 0; k < rule.TopK; k++)
            {
                ids.Int(row, k) = chosen[k];
                gates.Set(row, k, scores[chosen[k]] / total * rule.Scale);
            }
        }
    }

    /// <inheritdoc/>
    public override void CountExperts(Tensor counts, Tensor ids)
    {
        for (int row = 0; row < ids.Rows; row++)
            for (int k = 0; k < ids.Columns; k++)
                counts.Int(0, ids.Int(row, k))++;
    }

    /// <inheritdoc/>
    public override void Sample(Tensor ids, Tensor logits, SamplingBatch batch)
    {
        for (int row = 0; row < logits.Rows; row++)
        {
            int id = SampleRow(logits.Floats(row).ToArray(), batch, row);
            ids.Int(row) = id;
            batch.Tokens.Int(batch.Slots.Int(row), batch.Lengths.Int(row)) = id;
        }
    }

    /// <inheritdoc/>
    public override void LogProbabilities(Tensor chosen, Tensor topIds, Tensor topValues, Tensor logits, Tensor ids)
    {
        for (int row = 0; row < logits.Rows; row++)
        {
            float[] values = logits.Floats(row).ToArray();
            double most = values.Max();
            double normalizer = most + Math.Log(values.Sum(value => Math.Exp(value - most)));
            int id = ids.Int(row);
            chosen.Set(row, 0, values[id] - normalizer);
            chosen.Set(row, 1, 1 + values.Count(value => value > values[id]));
            if (topIds.IsEmpty)
                continue;
            int[] order = [.. Enumerable.Range(0, values.Length).OrderByDescending(i => values[i]).Take(topIds.Columns)];
            for (int k = 0; k < order.Length; k++)
            {
                topIds.Int(row, k) = order[k];
                topValues.Set(row, k, values[order[k]] - normalizer);
            }
        }
    }

    private static int SampleRow(float[] logits, SamplingBatch batch, int row)
    {
        float temperature = batch.Reals.Get(row, 0), topP = batch.Reals.Get(row, 1), minP = batch.Reals.Get(row, 2);
        float repetition = batch.Reals.Get(row, 3), presence = batch.Reals.Get(row, 4), frequency = batch.Reals.Get(row, 5);
        int topK = batch.Integers.Int(row, 0);
        if (batch.Integers.Int(row, 4) != 0)
        {
            int[] all = [.. Enumerable.Range(0, batch.Lengths.Int(row)).Select(i => batch.Tokens.Int(batch.Slots.Int(row), i))];
            foreach (int id in all.Distinct())
                logits[id] = logits[id] > 0 ? logits[id] / repetition : logits[id] * repetition;
            foreach (IGrouping<int, int> group in all.Skip(batch.PromptLengths.Int(row)).GroupBy(id => id))
                logits[group.Key] -= presence + frequency * group.Count();
        }
        for (int entry = batch.BiasStarts.Int(row); entry < batch.BiasStarts.Int(row + 1); entry++)
            logits[batch.BiasIds.Int(entry)] += batch.BiasValues.Get(entry, 0);
        for (int i = 0; i < logits.Length; i++)
            if (float.IsNaN(logits[i]))
                logits[i] = float.NegativeInfinity;
        // Falling order; equal logits in order of id (the sort is stable).
        int[] order = [.. Enumerable.Range(0, logits.Length).OrderByDescending(i => logits[i])];
        if (temperature == 0 || float.IsInfinity(logits[order[0]]))
            return order[0];
        double[] weights = [.. order.Select(i => Math.Exp(((double)logits[i] - logits[order[0]]) / temperature))];
        int kept = weights.Count(weight => weight >= minP && weight > 0);
        if (topK > 0)
            kept = Math.Min(kept, topK);
        double sum = weights.Take(kept).Sum(), cumulative = 0;
        for (int k = 0; k < kept; k++)
        {
            cumulative += weights[k];
            if (cumulative >= topP * sum)
            {
                kept = k + 1;
                break;
            }
        }
        // The draw walks the kept tokens in order of id, so that nothing needs the whole order.
        ulong seed = (uint)batch.Integers.Int(row, 1) | (ulong)(uint)batch.Integers.Int(row, 2) << 32;
        double draw = RandomStream.Uniform(seed, (uint)batch.Integers.Int(row, 3)) * weights.Take(kept).Sum();
        foreach (int k in Enumerable.Range(0, kept).OrderBy(k => order[k]))
            if ((draw -= weights[k]) < 0)
                return order[k];
        return order.Take(kept).Max();
    }
}
