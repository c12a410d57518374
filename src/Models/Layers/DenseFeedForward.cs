using XDeepServe.Kernels;

namespace XDeepServe.Models.Layers;

/// <summary>Gated feed-forward: down(silu(gate(x)) · up(x)).</summary>
/// <param name="gateUp">Gate, then up: <c>[2·width, hidden]</c>.</param>
/// <param name="down">Back to the stream: <c>[hidden, width]</c>.</param>
/// <param name="gateUpBias">F32 <c>[1, 2·width]</c>; may be empty.</param>
/// <param name="downBias">F32 <c>[1, hidden]</c>; may be empty.</param>
public sealed class DenseFeedForward(Weight gateUp, Weight down, Tensor gateUpBias = default, Tensor downBias = default) : FeedForwardUnit
{
    /// <inheritdoc/>
    public override long ScratchBytes(int tokens) => Scratch.Size(tokens, gateUp.Rows) + Scratch.Size(tokens, down.Columns);

    /// <inheritdoc/>
    public override void Run(Backend backend, Tensor output, Tensor input, Scratch scratch)
    {
        Tensor both = scratch.Take(input.Rows, gateUp.Rows);
        Tensor gated = scratch.Take(input.Rows, down.Columns);
        backend.LinearSwiGlu(gated, both, input, gateUp, gateUpBias);
        backend.Linear(output, gated, down, downBias);
    }
}
