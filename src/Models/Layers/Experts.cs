using XDeepServe.Kernels;

namespace XDeepServe.Models.Layers;

/// <summary>Routed experts of a layer that are here: one output row per (row, chosen expert). Knows nothing of routing.</summary>
/// <param name="gateUp">Per expert gate, then up: groups of <c>[2·width, hidden]</c>.</param>
/// <param name="down">Per expert <c>[hidden, width]</c>.</param>
public sealed class Experts(Weight gateUp, Weight down) : ExpertBank
{
    private readonly Weight gateUp = gateUp, down = down;

    /// <inheritdoc/>
    public override int Hidden => down.Rows;

    /// <summary>Experts held.</summary>
    public int Count => down.Groups;

    /// <summary>Bytes of one expert's weights.</summary>
    public long ExpertBytes => (gateUp.Bytes + down.Bytes) / Count;

    /// <summary>Puts another expert into a place: see <see cref="Backend.Replace"/>.</summary>
    public void Replace(Backend backend, int place, Experts source, int from)
    {
        backend.Replace(gateUp, place, source.gateUp, from);
        backend.Replace(down, place, source.down, from);
    }

    /// <summary>Scratch that <see cref="Run"/> takes for this many (row, expert) pairs.</summary>
    public long ScratchBytes(int pairs) => Scratch.Size(pairs, gateUp.Rows) + Scratch.Size(pairs, down.Columns);

    /// <summary>Runs the chosen experts.</summary>
    /// <param name="backend">Runs the operations.</param>
    /// <param name="output">F32 <c>[tokens·topK, hidden]</c>.</param>
    /// <param name="input">F32 <c>[tokens, hidden]</c>, normed.</param>
    /// <param name="ids">I32 <c>[tokens, topK]</c>.</param>
    /// <param name="scratch">Buffers; the caller rewinds.</param>
    public void Run(Backend backend, Tensor output, Tensor input, Tensor ids, Scratch scratch)
    {
        Tensor both = scratch.Take(output.Rows, gateUp.Rows);
        Tensor gated = scratch.Take(output.Rows, down.Columns);
        backend.GroupedSwiGlu(gated, both, input, gateUp, ids);
        backend.GroupedLinear(output, gated, down, ids);
    }

    /// <inheritdoc/>
    public override long BankBytes(int tokens, int topK) => Scratch.Size((long)tokens * topK, Hidden) + ScratchBytes(tokens * topK);

    /// <inheritdoc/>
    public override Tensor Begin(Backend backend, Tensor input, Tensor ids, Tensor gates, Scratch scratch)
    {
        Tensor rows = scratch.Take(input.Rows * ids.Columns, Hidden);
        Run(backend, rows, input, ids, scratch);
        return rows;
    }

    /// <inheritdoc/>
    public override void End(Backend backend, Tensor output, Tensor begun, Tensor gates, Tensor shared) =>
        backend.CombineExperts(output, begun, gates, shared);
}
