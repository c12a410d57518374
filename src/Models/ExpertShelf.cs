using XDeepServe.Kernels;
using XDeepServe.Models.Families;
using XDeepServe.Models.Layers;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models;

/// <summary>
/// Experts of a model without the rest of it, as an expert worker holds them: for each layer a row of places with a routed expert in
/// each, and the shared experts if asked for. Owns its weights; the checkpoint stays the caller's and must outlive them.
/// </summary>
public sealed class ExpertShelf : IDisposable
{
    private readonly WeightLoader loader;
    private readonly Experts?[] layers; // [layers]; null where there are none
    private readonly DenseFeedForward?[] shared; // [layers]; null where there are none

    private ExpertShelf(WeightLoader loader, Experts?[] layers, DenseFeedForward?[] shared, ModelConfig config) =>
        (this.loader, this.layers, this.shared, Config) = (loader, layers, shared, config);

    /// <summary>The shape of the network.</summary>
    public ModelConfig Config { get; }

    /// <summary>Bytes of all weights, mapped or copied.</summary>
    public long WeightBytes => loader.Bytes;

    /// <summary>The experts of a layer, numbered by place.</summary>
    /// <exception cref="ArgumentException">The layer has none here.</exception>
    public Experts this[int layer] => layers[layer] ?? throw new ArgumentException($"Layer {layer} has no experts here.");

    /// <summary>The shared experts of a layer as one unit; null if they are not here.</summary>
    public DenseFeedForward? Shared(int layer) => shared[layer];

    /// <summary>Layers that have routed experts, rising.</summary>
    public static IReadOnlyList<int> LayersOf(ModelConfig config) =>
        config.Experts is { } experts ? [.. Enumerable.Range(0, config.Layers).Where(layer => !experts.DenseLayers.Contains(layer))] : [];

    /// <summary>Loads experts.</summary>
    /// <param name="checkpoint">The opened files; open until the shelf is disposed.</param>
    /// <param name="backend">Runs them; stays the caller's.</param>
    /// <param name="quantization">As in <see cref="ModelOptions"/>.</param>
    /// <param name="held">For a layer with experts: the expert of each place; empty for none of them.</param>
    /// <param name="withShared">Whether to load each of these layers' shared experts, of which the model has some.</param>
    /// <exception cref="ModelLoadException">The model has no experts, or the files cannot be served.</exception>
    public static ExpertShelf Load(Checkpoint checkpoint, Backend backend, ElementType? quantization, Func<int, ReadOnlyMemory<int>> held, bool withShared = false)
    {
        var config = ModelConfig.Read(checkpoint.Config, checkpoint.GenerationConfig);
        if (config.Experts is null)
            throw new ModelLoadException("The model has no experts that could be held apart: serve it colocated.");
        Family family = Family.Of(config.Family);
        WeightLoader loader = new(checkpoint, backend, quantization, family);
        try
        {
            Experts?[] layers = new Experts?[config.Layers];
            DenseFeedForward?[] shared = new DenseFeedForward?[config.Layers];
            foreach (int layer in LayersOf(config))
            {
                if (held(layer) is { IsEmpty: false } places)
                    layers[layer] = Family.LoadExperts(layer, config, loader, places.Span);
                if (withShared)
                    shared[layer] = Family.LoadSharedExperts(layer, config, loader);
            }
            backend.Synchronize();
            return new ExpertShelf(loader, layers, shared, config);
        }
        catch
        {
            loader.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => loader.Dispose();
}
