using XDeepServe.Kernels;
using XDeepServe.Models;
using XDeepServe.Models.Loading;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>A rank's experts, and how they change when a layout asks for others. Stays with the thread that runs them.</summary>
internal sealed class HeldExperts : IDisposable
{
    private readonly Checkpoint checkpoint;
    private readonly Backend backend;
    private readonly ElementType? quantization;
    private int[][] held; // [layers with experts]: expert of each slot

    /// <summary>Loads what a layout gives a rank.</summary>
    /// <param name="checkpoint">The opened files; the caller's, and open until this is disposed.</param>
    /// <param name="backend">Runs the experts; stays the caller's.</param>
    /// <param name="quantization">As in <see cref="ModelOptions"/>.</param>
    /// <param name="layout">Where the experts are.</param>
    /// <param name="rank">This rank in it.</param>
    public HeldExperts(Checkpoint checkpoint, Backend backend, ElementType? quantization, ExpertLayout layout, int rank)
    {
        (this.checkpoint, this.backend, this.quantization) = (checkpoint, backend, quantization);
        held = HeldBy(layout, rank);
        Shelf = Load(layout);
    }

    /// <summary>The experts.</summary>
    public ExpertShelf Shelf { get; private set; }

    /// <summary>Times that experts were loaded after the first.</summary>
    public int Loads { get; private set; }

    /// <summary>Loads what a later layout asks for beside what is there. A slot that a layout in use gives an expert keeps it.</summary>
    public void Follow(ExpertLayout layout, int rank)
    {
        if (Has(layout, rank))
            return;
        held = HeldBy(layout, rank);
        ExpertShelf old = Shelf;
        Shelf = Load(layout);
        old.Dispose();
        Loads++;
    }

    /// <inheritdoc/>
    public void Dispose() => Shelf.Dispose();

    private bool Has(ExpertLayout layout, int rank)
    {
        for (int place = 0; place < held.Length; place++)
        {
            ReadOnlySpan<int> wanted = layout[place].Slots.Slice(rank * layout.SlotsPerRank, layout.SlotsPerRank);
            for (int slot = 0; slot < wanted.Length; slot++)
                if (wanted[slot] >= 0 && (slot >= held[place].Length || held[place][slot] != wanted[slot]))
                    return false;
        }
        return true;
    }

    private static int[][] HeldBy(ExpertLayout layout, int rank) => [.. layout.Layers.Select(layer => layout.Held(layer, rank))];

    private ExpertShelf Load(ExpertLayout layout) => ExpertShelf.Load(checkpoint, backend, quantization, layer => held[layout.PlaceOf(layer)]);
}
