using XDeepServe.Kernels;

namespace XDeepServe.Models.Layers;

/// <summary>A router, its experts, and a dense unit that every row passes.</summary>
/// <param name="router">Chooses.</param>
/// <param name="experts">The routed experts.</param>
/// <param name="shared">The shared experts as one unit; null for none.</param>
public sealed class MixtureOfExperts(Router router, Experts experts, DenseFeedForward? shared) : FeedForwardUnit
{
    private readonly int topK = router.TopK;
    private readonly int hidden = experts.Hidden;

    /// <summary>Chooses the experts of each row.</summary>
    public Router Router => router;

    /// <summary>The routed experts.</summary>
    public Experts Experts => experts;

    /// <summary>The shared experts as one unit; null for none.</summary>
    public DenseFeedForward? Shared => shared;

    /// <inheritdoc/>
    public override long ScratchBytes(int tokens) =>
        (2 * Scratch.Size(tokens, topK)) + Scratch.Size((long)tokens * topK, hidden)
        + router.ScratchBytes(tokens) + experts.ScratchBytes(tokens * topK)
        + (shared is null ? 0 : Scratch.Size(tokens, hidden) + shared.ScratchBytes(tokens));

    /// <inheritdoc/>
    public override void Run(Backend backend, Tensor output, Tensor input, Scratch scratch)
    {
        Tensor ids = scratch.Take(input.Rows, topK, ElementType.I32);
        Tensor gates = scratch.Take(input.Rows, topK);
        Tensor rows = scratch.Take(input.Rows * topK, hidden);
        router.Run(backend, ids, gates, input, scratch);
        experts.Run(backend, rows, input, ids, scratch);
        Tensor common = default;
        if (shared is not null)
        {
            common = scratch.Take(input.Rows, hidden);
            shared.Run(backend, common, input, scratch);
        }
        backend.CombineExperts(output, rows, gates, common);
    }
}
