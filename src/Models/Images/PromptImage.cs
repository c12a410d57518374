using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace XDeepServe.Models.Images;

/// <summary>An image in a prompt: which tokens stand for it, and what it looks like.</summary>
public sealed class PromptImage
{
    private readonly byte[] digest;

    /// <summary>Names an image.</summary>
    /// <param name="start">Position of the first of its tokens.</param>
    /// <param name="rows">How many they are.</param>
    /// <param name="pixels"><c>[3, size, size]</c>, normalised; not changed from here on.</param>
    public PromptImage(int start, int rows, float[] pixels)
    {
        (Start, Rows, Pixels) = (start, rows, pixels);
        digest = SHA256.HashData(MemoryMarshal.AsBytes<float>(pixels));
        Digest = MemoryMarshal.Read<UInt128>(digest);
    }

    /// <summary>Position of the first token.</summary>
    public int Start { get; }

    /// <summary>Tokens that stand for it.</summary>
    public int Rows { get; }

    /// <summary>Position behind the last token.</summary>
    public int End => Start + Rows;

    /// <summary><c>[3, size, size]</c>.</summary>
    public float[] Pixels { get; }

    /// <summary>Equal for equal pixels.</summary>
    public UInt128 Digest { get; }

    /// <summary>
    /// What stands for one of the image's positions where prompts are compared: a negative number, so that it is no token, made of
    /// the digest and the place within the image.
    /// </summary>
    public int Key(int row)
    {
        Span<byte> content = stackalloc byte[SHA256.HashSizeInBytes + sizeof(int)];
        digest.CopyTo(content);
        MemoryMarshal.Write(content[SHA256.HashSizeInBytes..], row);
        return (int)System.IO.Hashing.XxHash3.HashToUInt64(content) | int.MinValue;
    }

    /// <summary>
    /// Finds the images of a prompt. A token for each image is repeated as often as the image has rows; a prompt that has all of
    /// them already is left as it is.
    /// </summary>
    /// <param name="ids">The prompt.</param>
    /// <param name="images">Pixels of each image, in order.</param>
    /// <param name="shape">The model's images.</param>
    /// <returns>The prompt's ids, and where its images are.</returns>
    /// <exception cref="ImageException">The prompt does not have the tokens that the images ask for.</exception>
    public static (int[] Ids, PromptImage[] Images) Place(int[] ids, IReadOnlyList<float[]> images, ImageConfig shape)
    {
        int found = ids.Count(id => id == shape.TokenId), rows = shape.Rows;
        if (images.Count == 0)
            return (ids, []);
        if (found != images.Count && found != (long)images.Count * rows)
            throw new ImageException($"The prompt has {found} image tokens ({shape.TokenId}) for {images.Count} images; give one, or {rows}, for each.");
        if (found == images.Count && rows > 1)
            ids = [.. ids.SelectMany(id => Enumerable.Repeat(id, id == shape.TokenId ? rows : 1))];
        var placed = new PromptImage[images.Count];
        int from = 0;
        for (int i = 0; i < placed.Length; i++)
        {
            int start = Array.IndexOf(ids, shape.TokenId, from);
            if (start + rows > ids.Length || ids.AsSpan(start, rows).ContainsAnyExcept(shape.TokenId))
                throw new ImageException($"The {rows} tokens of image {i + 1} do not follow each other.");
            placed[i] = new PromptImage(start, rows, images[i]);
            from = start + rows;
        }
        return (ids, placed);
    }
}
