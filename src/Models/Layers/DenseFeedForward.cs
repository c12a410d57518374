using XDeepServe.Kernels;

namespace XDeepServe.Models.Layers;

/// <summary>Gated feed-forward: down(silu(gate(x)) · up(x)).</summary>
/// <param name="gateUp">Gate, then up: <c>[2·width, hidden]</c>.</param>
/// <param name="down">Back to the stream: <c>[hidden, width]</c>.</param>
public sealed class DenseFeedForward(Weight gateUp, Weight down) : FeedForwardUnit
{
    /// <inheritdoc/>
    public override long ScratchBytes(int tokens) => Scratch.Size(tokens, gateUp.Rows) + Scratch.Size(tokens, down.Columns);

    /// <inheritdoc/>
    public override void Run(Backend backend, Tensor output, Tensor input, Scratch scratch)
    {
        Tensor both = scratch.Take(input.Rows, gateUp.Rows);
        Tensor gated = scratch.Take(input.Rows, down.Columns);
        backend.Linear(both, input, gateUp);
        backend.SwiGlu(gated, both);
        backend.Linear(output, gated, down);
    }
}
