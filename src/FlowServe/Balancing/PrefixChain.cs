using System.IO.Hashing;
using System.Runtime.InteropServices;

namespace XDeepServe.FlowServe.Balancing;

/// <summary>
/// Names of a prompt's beginnings: one hash for every <see cref="Span"/> tokens, of those and all before them. Depends on salt and
/// content alone, not on a process or the size of cache blocks, so that whoever routes can compare prompts with caches elsewhere.
/// </summary>
public static class PrefixChain
{
    /// <summary>Tokens between two names.</summary>
    public const int Span = 64;

    /// <summary>The name of the next beginning.</summary>
    /// <param name="before">The name before it; <see cref="RadixIndex.SaltHash"/> for the first.</param>
    /// <param name="keys">[<see cref="Span"/>] what names the content of its positions, see <see cref="Sequence.Keys"/>.</param>
    public static ulong Next(ulong before, ReadOnlySpan<int> keys) => XxHash3.HashToUInt64(MemoryMarshal.AsBytes(keys), unchecked((long)~before));

    /// <summary>Names of all beginnings of a prompt that could be found in a cache: at least one token is always computed.</summary>
    /// <param name="keys">What names the content of each position.</param>
    /// <param name="salt">The request's cache salt.</param>
    public static ulong[] Of(ReadOnlySpan<int> keys, string? salt)
    {
        ulong[] chain = new ulong[Math.Max(0, keys.Length - 1) / Span];
        ulong name = RadixIndex.SaltHash(salt);
        for (int i = 0; i < chain.Length; i++)
            chain[i] = name = Next(name, keys.Slice(i * Span, Span));
        return chain;
    }

    /// <summary>Names of all beginnings of a request's prompt.</summary>
    public static ulong[] Of(GenerationRequest request)
    {
        if (request.Images.Count == 0)
            return Of(request.Prompt, request.CacheSalt);
        int[] keys = [.. request.Prompt];
        foreach (Models.Images.PromptImage image in request.Images)
            for (int row = 0; row < image.Rows; row++)
                keys[image.Start + row] = image.Key(row);
        return Of(keys, request.CacheSalt);
    }
}
