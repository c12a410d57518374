namespace XDeepServe.Kernels.Naive;

public sealed unsafe partial class NaiveBackend
{
    /// <inheritdoc/>
    public override void WriteCache(Tensor cache, Tensor rows, PagedBatch batch, int heads)
    {
        int width = rows.Columns / heads;
        foreach ((int row, int sequence, int position) in Rows(batch))
        {
            for (int head = 0; head < heads; head++)
            {
                (int block, long column) = Locate(batch, sequence, position, head, width);
                for (int i = 0; i < width; i++)
                    cache.Set(block, column + i, rows.Get(row, head * width + i));
            }
        }
    }

    /// <inheritdoc/>
    public override void PagedAttention(
        Tensor output, Tensor query, Tensor keys, Tensor values, PagedBatch batch, int heads, int cacheHeads, float scale, int window = 0)
    {
        int width = query.Columns / heads, valueWidth = output.Columns / heads;
        foreach ((int row, int sequence, int position) in Rows(batch))
        {
            for (int head = 0; head < heads; head++)
            {
                int cacheHead = head / (heads / cacheHeads);
                int first = window > 0 ? Math.Max(0, position - window + 1) : 0;
                double[] weights = new double[position + 1 - first];
                for (int key = first; key <= position; key++)
                {
                    (int block, long column) = Locate(batch, sequence, key, cacheHead, width);
                    for (int i = 0; i < width; i++)
                        weights[key - first] += (double)query.Get(row, head * width + i) * keys.Get(block, column + i);
                    weights[key - first] *= scale;
                }
                Softmax(weights);
                for (int i = 0; i < valueWidth; i++)
                {
                    double sum = 0;
                    for (int key = first; key <= position; key++)
                    {
                        (int block, long column) = Locate(batch, sequence, key, cacheHead, valueWidth);
                        sum += weights[key - first] * values.Get(block, column + i);
                    }
                    output.Set(row, head * valueWidth + i, sum);
                }
            }
        }
    }

    /// <inheritdoc/>
    public override void BidirectionalAttention(Tensor output, Tensor query, Tensor keys, Tensor values, int span, int heads, float scale)
    {
        int width = query.Columns / heads;
        for (int row = 0; row < query.Rows; row++)
        {
            int first = row / span * span;
            for (int start = 0; start < query.Columns; start += width)
            {
                double[] weights = new double[span];
                for (int key = 0; key < span; key++)
                    weights[key] = Dot(query.Floats(row).Slice(start, width), keys.Floats(first + key).Slice(start, width)) * scale;
                Softmax(weights);
                for (int i = 0; i < width; i++)
                {
                    double sum = 0;
                    for (int key = 0; key < span; key++)
                        sum += weights[key] * values.Get(first + key, start + i);
                    output.Set(row, start + i, sum);
                }
            }
        }
    }

    /// <inheritdoc/>
    public override void LatentAttention(Tensor output, Tensor query, Tensor latents, Weight expand, PagedBatch batch, LatentShape shape)
    {
        int queryWidth = shape.Plain + shape.Rope, cacheWidth = shape.Rank + shape.Rope, expanded = shape.Plain + shape.Value;
        foreach ((int row, int sequence, int position) in Rows(batch))
        {
            for (int head = 0; head < shape.Heads; head++)
            {
                // Expanded form, straight from the definition: each key and value is made from its latent.
                double[] weights = new double[position + 1];
                double[,] values = new double[position + 1, shape.Value];
                for (int key = 0; key <= position; key++)
                {
                    (int block, long column) = Locate(batch, sequence, key, 0, cacheWidth);
                    float[] latent = new float[shape.Rank];
                    for (int i = 0; i < shape.Rank; i++)
                        latent[i] = latents.Get(block, column + i);
                    for (int i = 0; i < shape.Plain; i++)
                        weights[key] += query.Get(row, head * queryWidth + i) * Dot(latent, ((NaiveWeight)expand).Row(0, head * expanded + i));
                    for (int i = 0; i < shape.Rope; i++)
                        weights[key] += (double)query.Get(row, head * queryWidth + shape.Plain + i) * latents.Get(block, column + shape.Rank + i);
                    weights[key] *= shape.Scale;
                    for (int i = 0; i < shape.Value; i++)
                        values[key, i] = Dot(latent, ((NaiveWeight)expand).Row(0, head * expanded + shape.Plain + i));
                }
                Softmax(weights);
                for (int i = 0; i < shape.Value; i++)
                {
                    double sum = 0;
                    for (int key = 0; key <= position; key++)
                        sum += weights[key] * values[key, i];
                    output.Set(row, head * shape.Value + i, sum);
                }
            }
        }
    }

    /// <summary>Every row of the step with its sequence and position.</summary>
    private static List<(int Row, int Sequence, int Position)> Rows(PagedBatch batch)
    {
        List<(int, int, int)> rows = [];
        for (int sequence = 0; sequence < batch.Sequences; sequence++)
            for (int row = batch.QueryStarts.Int(sequence); row < batch.QueryStarts.Int(sequence + 1); row++)
                rows.Add((row, sequence, batch.Positions.Int(row)));
        return rows;
    }

    /// <summary>Block and first column of a position's head in the cache.</summary>
    private static (int Block, long Column) Locate(PagedBatch batch, int sequence, int position, int head, int width) =>
        (batch.Blocks.Int(sequence, position / batch.BlockSize),
         ((long)head * batch.BlockSize + position % batch.BlockSize) * width);

    private static void Softmax(double[] values)
    {
        double most = values.Max(), sum = 0;
        for (int i = 0; i < values.Length; i++)
            sum += values[i] = Math.Exp(values[i] - most);
        for (int i = 0; i < values.Length; i++)
            values[i] /= sum;
    }
}
