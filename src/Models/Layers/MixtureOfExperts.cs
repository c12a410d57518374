using XDeepServe.Kernels;

namespace XDeepServe.Models.Layers;

/// <summary>A router, its experts, and a dense unit that every row passes.</summary>
/// <param name="router">Chooses.</param>
/// <param name="experts">The routed experts, wherever they are.</param>
/// <param name="shared">The shared experts as one unit; null for none.</param>
public sealed class MixtureOfExperts(Router router, ExpertBank experts, DenseFeedForward? shared) : FeedForwardUnit
{
    private readonly int topK = router.TopK;
    private readonly int hidden = experts.Hidden;

    /// <summary>Chooses the experts of each row.</summary>
    public Router Router => router;

    /// <summary>The routed experts.</summary>
    public ExpertBank Experts => experts;

    /// <summary>The shared experts as one unit; null for none.</summary>
    public DenseFeedForward? Shared => shared;

    /// <inheritdoc/>
    public override long ScratchBytes(int tokens) =>
        (2 * Scratch.Size(tokens, topK)) + router.ScratchBytes(tokens) + experts.BankBytes(tokens, topK)
        + (shared is null ? 0 : Scratch.Size(tokens, hidden) + shared.ScratchBytes(tokens));

    /// <inheritdoc/>
    public override void Run(Backend backend, Tensor output, Tensor input, Scratch scratch) =>
        End(backend, output, Begin(backend, output, input, scratch));

    /// <inheritdoc/>
    public override BegunRows Begin(Backend backend, Tensor output, Tensor input, Scratch scratch)
    {
        if (input.Rows == 0)
            return new BegunRows(experts.Begin(backend, input, default, default, scratch), default, default);
        Tensor ids = scratch.Take(input.Rows, topK, ElementType.I32);
        Tensor gates = scratch.Take(input.Rows, topK);
        router.Run(backend, ids, gates, input, scratch);
        Tensor rows = experts.Begin(backend, input, ids, gates, scratch);
        Tensor common = default;
        if (shared is not null)
        {
            // Where the routed experts are elsewhere, they compute meanwhile.
            common = scratch.Take(input.Rows, hidden);
            shared.Run(backend, common, input, scratch);
        }
        return new BegunRows(rows, gates, common);
    }

    /// <inheritdoc/>
    public override void End(Backend backend, Tensor output, BegunRows begun) =>
        experts.End(backend, output, begun.Rows, begun.Gates, begun.Shared);
}
