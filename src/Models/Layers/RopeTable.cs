using XDeepServe.Kernels;

namespace XDeepServe.Models.Layers;

/// <summary>Cosines and sines of rotary position embedding: one row per position, width/2 cosines, then width/2 sines.</summary>
public static class RopeTable
{
    private const int UploadRows = 256;

    /// <summary>Fills a table.</summary>
    /// <param name="backend">Takes the values.</param>
    /// <param name="table">F32 <c>[positions, width]</c>.</param>
    /// <param name="config">Base and scaling.</param>
    public static void Fill(Backend backend, Tensor table, RopeConfig config)
    {
        int half = table.Columns / 2;
        float[] frequencies = Frequencies(config, table.Columns);
        float factor = (float)(config.Yarn?.AttentionFactor ?? 1);
        float[] rows = new float[UploadRows * table.Columns];
        for (int start = 0; start < table.Rows; start += UploadRows)
        {
            int count = Math.Min(UploadRows, table.Rows - start);
            for (int row = 0; row < count; row++)
            {
                Span<float> values = rows.AsSpan(row * table.Columns, table.Columns);
                for (int i = 0; i < half; i++)
                {
                    // The angle is rounded to single precision, as in the training code that the weights come from.
                    (float sine, float cosine) = MathF.SinCos((start + row) * frequencies[i]);
                    values[i] = cosine * factor;
                    values[half + i] = sine * factor;
                }
            }
            backend.Upload<float>(table.Slice(start, count), rows.AsSpan(0, count * table.Columns));
        }
    }

    /// <summary>Radians per position of each pair, width/2 of them.</summary>
    public static float[] Frequencies(RopeConfig config, int width)
    {
        float[] frequencies = new float[width / 2];
        (double low, double high) = config.Yarn is { } yarn ? Ramp(yarn, config.Theta, width) : default;
        for (int i = 0; i < frequencies.Length; i++)
        {
            double frequency = Math.Pow(config.Theta, -2.0 * i / width) / config.Stretch;
            if (config.Llama3 is { } blend)
            {
                double turns = blend.OriginalPositions * frequency / (2 * Math.PI); // over the original context
                double kept = Math.Clamp((turns - blend.Low) / (blend.High - blend.Low), 0, 1);
                frequency *= kept + ((1 - kept) / blend.Factor);
            }
            if (config.Yarn is { } scaling)
            {
                double stretched = Math.Clamp((i - low) / (high - low), 0, 1);
                frequency *= 1 - stretched + (stretched / scaling.Factor);
            }
            frequencies[i] = (float)frequency;
        }
        return frequencies;
    }

    private static (double Low, double High) Ramp(YarnConfig yarn, double theta, int width)
    {
        double low = Pair(yarn.BetaFast);
        double high = Pair(yarn.BetaSlow);
        if (yarn.Truncate)
            (low, high) = (Math.Floor(low), Math.Ceiling(high));
        low = Math.Max(low, 0);
        high = Math.Min(high, width - 1);
        return (low, high <= low ? low + 0.001 : high);

        // The pair whose wave turns this often over the original context.
        double Pair(double turns) =>
            width * Math.Log(yarn.OriginalPositions / (turns * 2 * Math.PI)) / (2 * Math.Log(theta));
    }
}
