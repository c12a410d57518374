using XDeepServe.Kernels;

namespace XDeepServe.Models;

/// <summary>Mixture of experts.</summary>
/// <param name="Count">Routed experts in a layer.</param>
/// <param name="Width">Inner columns of one expert.</param>
/// <param name="Shared">Experts that every token passes; 0 for none.</param>
/// <param name="DenseLayers">Layers that have one dense feed-forward unit instead.</param>
/// <param name="Rule">How the router chooses.</param>
/// <param name="Corrected">Whether a bias corrects the scores while choosing.</param>
public sealed record ExpertConfig(int Count, int Width, int Shared, IReadOnlySet<int> DenseLayers, RoutingRule Rule, bool Corrected = false);
