using XDeepServe.Kernels;

namespace XDeepServe.Models;

/// <summary>What one position adds to one cache tensor.</summary>
/// <param name="Heads">Heads.</param>
/// <param name="Width">Columns of a head.</param>
public readonly record struct CacheRow(int Heads, int Width);

/// <summary>What every layer keeps of a position: keys and values (two tensors), or a compressed latent (one).</summary>
/// <param name="Type">Storage type of all cache tensors.</param>
/// <param name="Layers">For each layer its tensors' rows.</param>
public sealed record CacheLayout(ElementType Type, IReadOnlyList<IReadOnlyList<CacheRow>> Layers)
{
    /// <summary>Bytes that one token of context takes over all layers.</summary>
    public long BytesPerPosition => Layers.Sum(parts => parts.Sum(row => Type.Bytes((long)row.Heads * row.Width)));
}
