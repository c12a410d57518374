using XDeepServe.Kernels;

namespace XDeepServe.Models.Layers;

/// <summary>Feed-forward without a gate: down(gelu(up(x))).</summary>
/// <param name="up"><c>[width, hidden]</c>.</param>
/// <param name="upBias">F32 <c>[1, width]</c>; may be empty.</param>
/// <param name="down">Back to the stream: <c>[hidden, width]</c>.</param>
/// <param name="downBias">F32 <c>[1, hidden]</c>; may be empty.</param>
/// <param name="form">Which GELU.</param>
public sealed class PlainFeedForward(Weight up, Tensor upBias, Weight down, Tensor downBias, GeluForm form) : FeedForwardUnit
{
    /// <inheritdoc/>
    public override long ScratchBytes(int tokens) => Scratch.Size(tokens, up.Rows);

    /// <inheritdoc/>
    public override void Run(Backend backend, Tensor output, Tensor input, Scratch scratch)
    {
        Tensor inner = scratch.Take(input.Rows, up.Rows);
        backend.Linear(inner, input, up, upBias);
        backend.Gelu(inner, inner, form);
        backend.Linear(output, inner, down, downBias);
    }
}
