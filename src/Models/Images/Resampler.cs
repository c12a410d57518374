namespace XDeepServe.Models.Images;

/// <summary>
/// Bicubic resizing as Pillow does it: the filter widens when an image shrinks, weights are fixed-point numbers of 22 bits, columns
/// come before rows, and each pass rounds to bytes. Only the part of the result that is asked for is computed.
/// </summary>
internal static class Resampler
{
    private const int Precision = 22;
    private const double Support = 2;

    /// <summary>A part of an image resized to <paramref name="width"/> x <paramref name="height"/>.</summary>
    /// <param name="image">The image.</param>
    /// <param name="width">Width of the whole result.</param>
    /// <param name="height">Height of the whole result.</param>
    /// <param name="left">First column of the part.</param>
    /// <param name="top">First row of the part.</param>
    /// <param name="columns">Columns of the part.</param>
    /// <param name="rows">Rows of the part.</param>
    public static RgbImage Resize(RgbImage image, long width, long height, long left, long top, int columns, int rows)
    {
        Taps[] across = Filter(image.Width, width, left, columns), down = Filter(image.Height, height, top, rows);
        int first = down.Min(taps => taps.First), end = down.Max(taps => taps.First + taps.Weights.Length);
        byte[] narrowed = new byte[(long)(end - first) * columns * 3];
        for (int row = first; row < end; row++)
            for (int column = 0; column < columns; column++)
                Mix(image.Pixels, ((long)row * image.Width) + across[column].First, 1, across[column].Weights, narrowed, (((long)(row - first) * columns) + column) * 3);
        byte[] pixels = new byte[(long)rows * columns * 3];
        for (int row = 0; row < rows; row++)
            for (int column = 0; column < columns; column++)
                Mix(narrowed, ((long)(down[row].First - first) * columns) + column, columns, down[row].Weights, pixels, (((long)row * columns) + column) * 3);
        return new RgbImage(columns, rows, pixels);
    }

    private static void Mix(byte[] source, long first, int step, int[] weights, byte[] target, long at)
    {
        for (int channel = 0; channel < 3; channel++)
        {
            int sum = 1 << (Precision - 1);
            for (int tap = 0; tap < weights.Length; tap++)
                sum += source[((first + ((long)tap * step)) * 3) + channel] * weights[tap];
            target[at + channel] = (byte)Math.Clamp(sum >> Precision, 0, 255);
        }
    }

    private static Taps[] Filter(int input, long output, long start, int count)
    {
        double scale = (double)input / output, widened = Math.Max(scale, 1), support = Support * widened;
        var taps = new Taps[count];
        for (int i = 0; i < count; i++)
        {
            double centre = (start + i + 0.5) * scale;
            int first = Math.Max(0, (int)(centre - support + 0.5)), end = Math.Min(input, (int)(centre + support + 0.5));
            double[] weights = [.. Enumerable.Range(first, end - first).Select(x => Bicubic((x - centre + 0.5) / widened))];
            double sum = weights.Sum();
            taps[i] = new Taps(first, [.. weights.Select(weight => Fixed(weight / sum))]);
        }
        return taps;
    }

    private static int Fixed(double weight) => (int)((weight < 0 ? -0.5 : 0.5) + (weight * (1 << Precision)));

    private static double Bicubic(double x)
    {
        const double A = -0.5;
        x = Math.Abs(x);
        return x < 1 ? (((A + 2) * x) - (A + 3)) * x * x + 1
            : x < 2 ? (((x - 5) * x + 8) * x - 4) * A
            : 0;
    }

    /// <summary>Input positions that make an output position, and their weights.</summary>
    private readonly record struct Taps(int First, int[] Weights);
}
