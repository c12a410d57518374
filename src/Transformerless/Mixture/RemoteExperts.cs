using XDeepServe.Kernels;
using XDeepServe.Models;
using XDeepServe.Models.Layers;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>A layer's experts behind an exchange.</summary>
/// <param name="exchange">The way to them.</param>
/// <param name="place">The layer, counted among those with experts.</param>
internal sealed class RemoteExperts(ExpertExchange exchange, int place) : ExpertBank
{
    /// <inheritdoc/>
    public override int Hidden => exchange.Shape.Hidden;

    /// <inheritdoc/>
    public override bool HasShared => exchange.Layout.Shared;

    /// <inheritdoc/>
    public override long BankBytes(int tokens, int topK) => 0;

    /// <inheritdoc/>
    public override Tensor Begin(Backend backend, Tensor input, Tensor ids, Tensor gates, Scratch scratch)
    {
        exchange.Begin(backend, place, input, ids, gates);
        return default;
    }

    /// <inheritdoc/>
    public override void End(Backend backend, Tensor output, Tensor begun, Tensor gates, Tensor shared) =>
        exchange.End(backend, output, shared);
}
