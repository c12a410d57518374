using System.Text.Json.Nodes;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models.Images;

/// <summary>
/// Makes of an image what a vision transformer takes, as Hugging Face's CLIP image processor does: resize the shortest edge, cut
/// the centre out, scale to 0 to 1, normalise.
/// </summary>
public sealed class ImageProcessor
{
    private const int Bicubic = 3; // Pillow's number
    private static readonly double[] Mean = [0.48145466, 0.4578275, 0.40821073];
    private static readonly double[] Deviation = [0.26862954, 0.26130258, 0.27577711];
    private readonly int size;           // of the result, which is square
    private readonly int? shortest;      // edge to resize to; null to resize to the square as it is
    private readonly bool resizes, normalises;
    private readonly double factor;      // on bytes
    private readonly float[] mean, deviation;

    private ImageProcessor(ConfigReader reader, int size)
    {
        this.size = size;
        resizes = reader.Flag("do_resize", true);
        if (resizes && reader.Integer("resample", 0, fallback: Bicubic) != Bicubic)
            throw reader.Wrong("resample", $"only {Bicubic} (bicubic) is supported");
        bool crops = reader.Flag("do_center_crop", true);
        shortest = Edge(reader, "size", "shortest_edge", size);
        if (crops && Edge(reader, "crop_size", null, size) != size)
            throw reader.Wrong("crop_size", $"the model's images have {size} x {size} pixels");
        if (shortest < size || (!crops && shortest is not null))
            throw reader.Wrong("size", $"the model's images have {size} x {size} pixels");
        factor = reader.Flag("do_rescale", true) ? reader.Real("rescale_factor", 0, 1 / 255.0) : 1;
        normalises = reader.Flag("do_normalize", true);
        mean = [.. Colours(reader, "image_mean", Mean).Select(value => (float)value)];
        deviation = [.. Colours(reader, "image_std", Deviation).Select(value => (float)value)];
        if (deviation.Any(value => value <= 0))
            throw reader.Wrong("image_std", "its values must be greater than 0");
    }

    /// <summary>Reads <c>preprocessor_config.json</c>.</summary>
    /// <param name="config">The file's object; null for LLaVA's settings.</param>
    /// <param name="shape">The model's images.</param>
    /// <exception cref="ModelLoadException">Steps that are not supported, or another size.</exception>
    public static ImageProcessor Read(JsonObject? config, ImageConfig shape) => new(new ConfigReader(config ?? [], "preprocessor_config.json"), shape.Size);

    /// <summary>Decodes and prepares an image.</summary>
    /// <param name="file">A PNG or JPEG file.</param>
    /// <returns><c>[3, size, size]</c>.</returns>
    /// <exception cref="ImageException">It cannot be decoded.</exception>
    public float[] Process(byte[] file) => Process(ImageDecoder.Decode(file));

    /// <summary>Prepares a decoded image.</summary>
    public float[] Process(RgbImage image)
    {
        RgbImage cut = Cut(image);
        float[] pixels = new float[3 * size * size];
        for (int channel = 0; channel < 3; channel++)
            for (int i = 0; i < size * size; i++)
            {
                float value = (float)(cut.Pixels[(3 * i) + channel] * factor);
                pixels[(channel * size * size) + i] = normalises ? (value - mean[channel]) / deviation[channel] : value;
            }
        return pixels;
    }

    private RgbImage Cut(RgbImage image)
    {
        (long width, long height) = (image.Width, image.Height);
        if (resizes && shortest is { } edge)
        {
            long least = Math.Min(width, height);
            // The other edge is cut down to whole pixels, as the original does it.
            long other = (long)((double)edge * Math.Max(width, height) / least);
            (width, height) = width <= height ? ((long)edge, other) : (other, (long)edge);
        }
        else if (resizes)
        {
            (width, height) = (size, size);
        }
        if (width < size || height < size)
            throw new ImageException($"The image has {image.Width} x {image.Height} pixels, but the model takes {size} x {size} and is set not to resize.");
        return Resampler.Resize(image, width, height, (width - size) / 2, (height - size) / 2, size, size);
    }

    // A whole number, an object with the shortest edge, or one with equal height and width (null: resize to the square itself).
    private static int? Edge(ConfigReader reader, string key, string? shortestKey, int size)
    {
        if (reader.IsObject(key))
        {
            ConfigReader section = reader.Section(key)!;
            if (shortestKey is not null && section.Has(shortestKey))
                return section.Integer(shortestKey, 1, 1 << 14);
            if (section.Integer("height", 1) != size || section.Integer("width", 1) != size)
                throw reader.Wrong(key, $"the model's images have {size} x {size} pixels");
            return shortestKey is null ? size : null;
        }
        return reader.Integer(key, 1, 1 << 14, size);
    }

    private static double[] Colours(ConfigReader reader, string key, double[] fallback)
    {
        IReadOnlyList<double> values = reader.Reals(key);
        return values.Count switch
        {
            0 => fallback,
            3 => [.. values],
            _ => throw reader.Wrong(key, "must hold three numbers"),
        };
    }
}
