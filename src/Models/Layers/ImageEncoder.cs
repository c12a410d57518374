using XDeepServe.Kernels;

namespace XDeepServe.Models.Layers;

/// <summary>
/// Turns an image into rows of a prompt: patches through a vision transformer (CLIP's), then through two matrices into the text
/// model's space (LLaVA's projector). Knows nothing of the text model.
/// </summary>
/// <param name="shape">Sizes.</param>
/// <param name="patchWeight">Patches to the stream: <c>[hidden, 3·patch·patch]</c>.</param>
/// <param name="classRow">F32 <c>[1, hidden]</c>: the row before the patches.</param>
/// <param name="positions">F32 <c>[1 + patches, hidden]</c>.</param>
/// <param name="firstNorm">Norm before the layers.</param>
/// <param name="layers">The layers that are run.</param>
/// <param name="projector">To the text model's columns: <c>[text, hidden]</c>, gelu, <c>[text, text]</c>.</param>
/// <param name="columns">Columns of the text model's stream.</param>
public sealed class ImageEncoder(
    ImageConfig shape, Weight patchWeight, Tensor classRow, Tensor positions, Norm firstNorm, IReadOnlyList<EncoderLayer> layers,
    FeedForwardUnit projector, int columns)
{
    /// <summary>Sizes.</summary>
    public ImageConfig Shape => shape;

    /// <summary>Columns of an encoded row.</summary>
    public int Columns => columns;

    /// <summary>Makes the buffers for one image at a time. The caller disposes them.</summary>
    public ImageBuffers CreateBuffers(Backend backend)
    {
        int rows = shape.Patches + 1;
        long scratch = Math.Max(layers.Count == 0 ? 0 : layers.Max(layer => layer.ScratchBytes(rows)), projector.ScratchBytes(shape.Rows));
        return new ImageBuffers(backend, shape, scratch);
    }

    /// <summary>Encodes an image.</summary>
    /// <param name="backend">Runs the operations.</param>
    /// <param name="output">F32 <c>[rows, columns]</c>; see <see cref="ImageConfig.Rows"/>.</param>
    /// <param name="pixels"><c>[3, size, size]</c>, normalised.</param>
    /// <param name="buffers">Made by this encoder; free again when the call returns.</param>
    public void Encode(Backend backend, Tensor output, ReadOnlySpan<float> pixels, ImageBuffers buffers)
    {
        backend.Upload(buffers.Patches, buffers.Cut(pixels));
        Tensor stream = buffers.Stream;
        backend.Linear(stream.Slice(1, shape.Patches), buffers.Patches, patchWeight);
        backend.Copy(stream.Take(1), classRow);
        backend.Add(stream, positions);
        firstNorm.Run(backend, stream, stream);
        foreach (EncoderLayer layer in layers)
            layer.Run(backend, stream, stream.Rows, buffers.Scratch);
        buffers.Scratch.Rewind();
        projector.Run(backend, output, stream.Slice(shape.KeepsClass ? 0 : 1, shape.Rows), buffers.Scratch);
    }
}
