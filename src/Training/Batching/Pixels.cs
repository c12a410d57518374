using System.Buffers.Text;
using XDeepServe.Models;
using XDeepServe.Models.Images;

namespace XDeepServe.Training.Batching;

/// <summary>Images as the model takes them. Each file is decoded once, as far as the memory given holds them; the others are decoded again when they are met again.</summary>
/// <param name="input">Reads and prepares.</param>
/// <param name="memory">Bytes of prepared images to keep.</param>
public sealed class Pixels(ImageInput input, long memory = 2L << 30)
{
    private readonly Dictionary<string, float[]> kept = new(StringComparer.Ordinal);

    /// <summary>Height and width.</summary>
    public int Size => input.Shape.Size;

    /// <summary>Values of an image.</summary>
    public int Count => ImageConfig.Channels * Size * Size;

    /// <summary>How many are kept.</summary>
    public int Kept => kept.Count;

    /// <summary>Refuses what is not there, so that training does not end at it.</summary>
    /// <param name="images">Files, or data URLs.</param>
    /// <param name="place">Where they are named.</param>
    /// <exception cref="TrainingException">Names the place and the image.</exception>
    public static void Require(IEnumerable<string> images, string place)
    {
        foreach (string image in images)
        {
            if (!image.StartsWith("data:", StringComparison.OrdinalIgnoreCase) && !File.Exists(image))
                throw new TrainingException($"{place}: the image {image} is not there.");
            if (image.StartsWith("data:", StringComparison.OrdinalIgnoreCase) && !Base64.IsValid(image.AsSpan(image.IndexOf(',', StringComparison.Ordinal) + 1)))
                throw new TrainingException($"{place}: an image is not valid base64.");
        }
    }

    /// <summary>Images, one behind the other.</summary>
    /// <param name="files">Where they lie.</param>
    /// <returns><c>[files, 3, size, size]</c></returns>
    /// <exception cref="ImageException">One cannot be decoded; the message names it.</exception>
    public float[] Read(IReadOnlyList<string> files)
    {
        float[] all = new float[files.Count * Count];
        for (int i = 0; i < files.Count; i++)
        {
            if (!kept.TryGetValue(files[i], out float[]? image))
            {
                image = input.Read(files[i]);
                if ((kept.Count + 1L) * Count * sizeof(float) <= memory)
                    kept[files[i]] = image;
            }
            image.CopyTo(all, i * Count);
        }
        return all;
    }
}
