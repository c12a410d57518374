using XDeepServe.Kernels;

namespace XDeepServe.Models.Layers;

/// <summary>Buffers of an <see cref="ImageEncoder"/>, for one image at a time. Owns its backend memory.</summary>
public sealed class ImageBuffers : IDisposable
{
    private readonly Arena arena;
    private readonly ImageConfig shape;
    private readonly float[] cut; // [patches, 3·patch·patch]

    internal ImageBuffers(Backend backend, ImageConfig shape, long scratchBytes)
    {
        this.shape = shape;
        cut = new float[shape.Pixels];
        int rows = shape.Patches + 1;
        arena = backend.CreateArena(
            Arena.BytesFor(ElementType.F32, shape.Patches, shape.PatchColumns) + Arena.BytesFor(ElementType.F32, rows, shape.HiddenSize) + Scratch.ArenaBytes(scratchBytes));
        Patches = arena.Allocate(ElementType.F32, shape.Patches, shape.PatchColumns);
        Stream = arena.Allocate(ElementType.F32, rows, shape.HiddenSize);
        Scratch = new Scratch(arena, scratchBytes);
    }

    internal Tensor Patches { get; }

    internal Tensor Stream { get; } // [1 + patches, hidden]

    internal Scratch Scratch { get; }

    /// <summary>Cuts an image <c>[3, size, size]</c> into patches, row by row, each colour by colour.</summary>
    internal ReadOnlySpan<float> Cut(ReadOnlySpan<float> pixels)
    {
        int side = shape.PatchSize, across = shape.Size / side, at = 0;
        for (int patch = 0; patch < shape.Patches; patch++)
            for (int channel = 0; channel < ImageConfig.Channels; channel++)
                for (int row = 0; row < side; row++, at += side)
                {
                    int y = (patch / across * side) + row, x = patch % across * side;
                    pixels.Slice((((channel * shape.Size) + y) * shape.Size) + x, side).CopyTo(cut.AsSpan(at));
                }
        return cut;
    }

    /// <inheritdoc/>
    public void Dispose() => arena.Dispose();
}
