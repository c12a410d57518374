using XDeepServe.Kernels;

namespace XDeepServe.Models;

/// <summary>
/// The paged key-value cache of all layers: one tensor <c>[blocks, heads·blockSize·width]</c> per layer and part.
/// Takes the arena over and disposes it.
/// </summary>
public sealed class KvCache : IDisposable
{
    private readonly Tensor[][] tensors; // [layers][parts]
    private readonly Arena arena;

    /// <summary>Lays the cache out in an arena.</summary>
    /// <param name="layout">The model's layout.</param>
    /// <param name="blocks">Number of blocks.</param>
    /// <param name="blockSize">Positions in a block.</param>
    /// <param name="arena">At least <paramref name="blocks"/> · <see cref="BytesPerBlock"/> free bytes; belongs to the cache from here on.</param>
    /// <exception cref="InvalidOperationException">The arena is too small.</exception>
    public KvCache(CacheLayout layout, int blocks, int blockSize, Arena arena)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blocks);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blockSize);
        Blocks = blocks;
        BlockSize = blockSize;
        Layout = layout;
        this.arena = arena;
        tensors = [.. layout.Layers.Select(parts =>
            parts.Select(row => arena.Allocate(layout.Type, blocks, row.Heads * blockSize * row.Width)).ToArray())];
    }

    /// <summary>What the layers keep.</summary>
    public CacheLayout Layout { get; }

    /// <summary>Number of blocks.</summary>
    public int Blocks { get; }

    /// <summary>Positions in a block.</summary>
    public int BlockSize { get; }

    /// <summary>One cache tensor of a layer: part 0 holds keys or latents, part 1 values.</summary>
    public Tensor this[int layer, int part] => tensors[layer][part];

    /// <summary>Arena bytes that one block takes over all layers, rounding included.</summary>
    public static long BytesPerBlock(CacheLayout layout, int blockSize) =>
        layout.Layers.Sum(parts => parts.Sum(row => Arena.BytesFor(layout.Type, 1, (long)row.Heads * blockSize * row.Width)));

    /// <inheritdoc/>
    public void Dispose() => arena.Dispose();
}
