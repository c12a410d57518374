using XDeepServe.FlowServe.Balancing;
using XDeepServe.Kernels;
using XDeepServe.Models;
using XDeepServe.Models.Layers;

namespace XDeepServe.Cli.Bench;

/// <summary>Has a model's routers count on the device, and takes the counts. Owns them; the model must not run afterwards.</summary>
internal sealed class ExpertCounts : IDisposable
{
    private readonly Backend backend;
    private readonly Arena arena;
    private readonly Router[] routers;
    private readonly int[] row, zeros;

    public ExpertCounts(Model model, Backend backend)
    {
        this.backend = backend;
        routers = [.. model.Layers.Select(layer => layer.FeedForward).OfType<MixtureOfExperts>().Select(unit => unit.Router)];
        if (routers.Length == 0)
            throw new ArgumentException("The model has no routed experts.");
        (row, zeros) = (new int[Experts], new int[Experts]);
        arena = backend.CreateArena(routers.Length * Arena.BytesFor(ElementType.I32, 1, Experts));
        foreach (Router router in routers)
        {
            router.Counts = arena.Allocate(ElementType.I32, 1, Experts);
            backend.Upload<int>(router.Counts, zeros);
        }
    }

    /// <summary>Layers with routed experts.</summary>
    public int Layers => routers.Length;

    /// <summary>Experts of a layer.</summary>
    public int Experts => routers[0].Experts;

    /// <summary>Adds what was counted to a slice; begins again at 0.</summary>
    public void Take(ExpertLoad load, int slice)
    {
        for (int layer = 0; layer < routers.Length; layer++)
        {
            backend.Download<int>(routers[layer].Counts, row);
            backend.Upload<int>(routers[layer].Counts, zeros);
            Span<int> counts = load.Slice(layer, slice);
            for (int expert = 0; expert < row.Length; expert++)
                counts[expert] += row[expert];
        }
    }

    /// <inheritdoc/>
    public void Dispose() => arena.Dispose();
}
