namespace XDeepServe.Kernels.Cpu;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    public override void Sample(Tensor ids, Tensor logits, SamplingBatch batch)
    {
        long bytes = TokenSampler.ScratchBytes(logits.Columns);
        OverRows(logits.Rows, 2L * logits.Rows * logits.Columns, new Sampling(ids, logits, batch, Scratch(bytes), bytes));
    }

    /// <inheritdoc/>
    public override void LogProbabilities(Tensor chosen, Tensor topIds, Tensor topValues, Tensor logits, Tensor ids)
    {
        long bytes = (logits.Columns + 16L) * sizeof(float);
        OverRows(logits.Rows, 8L * logits.Rows * logits.Columns, new Ranking(chosen, topIds, topValues, logits, ids, Scratch(bytes), bytes));
    }

    private readonly struct Sampling(Tensor ids, Tensor logits, SamplingBatch batch, byte* scratch, long bytes) : IRowWork
    {
        public void Row(int row, int worker)
        {
            int id = new TokenSampler(batch, row, logits.Columns, scratch + worker * bytes).Choose(Floats(logits, row));
            *Ints(ids, row) = id;
            Ints(batch.Tokens, *Ints(batch.Slots, row))[*Ints(batch.Lengths, row)] = id;
        }
    }

    private readonly struct Ranking(Tensor chosen, Tensor topIds, Tensor topValues, Tensor logits, Tensor ids, byte* scratch, long bytes) : IRowWork
    {
        public void Row(int row, int worker)
        {
            float* values = Floats(logits, row);
            int count = logits.Columns;
            float most = VectorMath.Largest(values, count);
            float normalizer = most + MathF.Log(VectorMath.Exponential((float*)(scratch + worker * bytes), values, most, 1, count));
            float mine = values[*Ints(ids, row)];
            int rank = 1;
            for (int i = 0; i < count; i++)
                rank += values[i] > mine ? 1 : 0;
            Floats(chosen, row)[0] = mine - normalizer;
            Floats(chosen, row)[1] = rank;
            if (!topIds.IsEmpty)
                Best(values, count, Ints(topIds, row), Floats(topValues, row), Math.Min(topIds.Columns, count), normalizer);
        }

        /// <summary>Keeps the best so far in falling order; most values fail the first comparison.</summary>
        private static void Best(float* values, int count, int* bestIds, float* best, int kept, float normalizer)
        {
            int filled = 0;
            for (int i = 0; i < count; i++)
            {
                if (filled == kept && !(values[i] > best[kept - 1]))
                    continue;
                int place = filled < kept ? filled++ : kept - 1;
                for (; place > 0 && values[i] > best[place - 1]; place--)
                    (best[place], bestIds[place]) = (best[place - 1], bestIds[place - 1]);
                (best[place], bestIds[place]) = (values[i], i);
            }
            for (int k = 0; k < kept; k++)
                best[k] -= normalizer;
        }
    }
}
