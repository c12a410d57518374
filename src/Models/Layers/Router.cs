using XDeepServe.Kernels;

namespace XDeepServe.Models.Layers;

/// <summary>Chooses the experts of each row. Runs where attention runs; the experts may be elsewhere.</summary>
/// <param name="weight">F32 <c>[experts, hidden]</c>.</param>
/// <param name="bias">F32 <c>[1, experts]</c>: correction for choosing; may be empty.</param>
/// <param name="rule">How to choose.</param>
public sealed class Router(Weight weight, Tensor bias, RoutingRule rule)
{
    /// <summary>Experts per row.</summary>
    public int TopK => rule.TopK;

    /// <summary>Experts.</summary>
    public int Experts => weight.Rows;

    /// <summary>Where choices are counted, I32 <c>[1, experts]</c>, the setter's; empty (as at first) if they are not. Set before the first step.</summary>
    public Tensor Counts { get; set; }

    /// <summary>Scratch that <see cref="Run"/> takes for this many rows.</summary>
    public long ScratchBytes(int tokens) => Scratch.Size(tokens, weight.Rows);

    /// <summary>Chooses: <paramref name="ids"/> I32 and <paramref name="gates"/> F32, both <c>[tokens, topK]</c>.</summary>
    public void Run(Backend backend, Tensor ids, Tensor gates, Tensor input, Scratch scratch)
    {
        Tensor logits = scratch.Take(input.Rows, weight.Rows);
        backend.Linear(logits, input, weight);
        backend.Route(ids, gates, logits, bias, rule);
        if (!Counts.IsEmpty)
            backend.CountExperts(Counts, ids);
    }
}
