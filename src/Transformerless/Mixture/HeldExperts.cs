using System.Diagnostics;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Kernels;
using XDeepServe.Models;
using XDeepServe.Models.Loading;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// A rank's experts, and how they change while it serves: <see cref="Stage"/> reads others on a thread beside,
/// <see cref="Swap"/> puts them into slots between two batches. All but staging stays with the thread that runs them.
/// </summary>
internal sealed class HeldExperts : IDisposable
{
    private readonly Checkpoint checkpoint;
    private readonly Backend backend;
    private readonly ElementType? quantization;
    private readonly bool shared;
    private readonly IReadOnlyList<int> layers; // with experts, rising
    private readonly int[][] slots; // [layers with experts]: expert of each slot, -1 for none
    private Backend? beside;
    private ExpertShelf? staged;
    private IReadOnlyList<ReplicaMove>[] moves = []; // [layers with experts]: what is staged, by slot of this rank

    /// <summary>Loads what a layout gives a rank.</summary>
    /// <param name="checkpoint">The opened files; the caller's, and open until this is disposed.</param>
    /// <param name="backend">Runs the experts; stays the caller's.</param>
    /// <param name="quantization">As in <see cref="ModelOptions"/>.</param>
    /// <param name="layout">Where the experts are.</param>
    /// <param name="rank">This rank in it.</param>
    public HeldExperts(Checkpoint checkpoint, Backend backend, ElementType? quantization, ExpertLayout layout, int rank)
    {
        (this.checkpoint, this.backend, this.quantization, shared, layers) = (checkpoint, backend, quantization, layout.Shared, layout.Layers);
        slots = [.. layers.Select((_, place) => layout.Rows(place, rank).ToArray())];
        Shelf = Load(backend, place => Filled(slots[place]), shared);
    }

    /// <summary>The experts.</summary>
    public ExpertShelf Shelf { get; private set; }

    /// <summary>Times that experts were loaded because ranks were gone or had come.</summary>
    public int Loads { get; private set; }

    /// <summary>Bytes of experts that were put into slots since the first.</summary>
    public long LoadedBytes { get; private set; }

    /// <summary>Longest time that this took, in ticks of <see cref="Stopwatch"/>.</summary>
    public long LongestSwap { get; private set; }

    /// <summary>The routed expert of each slot of a layer, -1 for none. While nothing is changed, any thread.</summary>
    public ReadOnlySpan<int> Slots(int place) => slots[place];

    /// <summary>What a layout wants in slots that hold something else, <c>[layers with experts]</c>. While nothing is changed, any thread.</summary>
    public IReadOnlyList<ReplicaMove>[] MissingFrom(ExpertLayout layout, int rank)
    {
        List<ReplicaMove>[] missing = [.. layers.Select(_ => new List<ReplicaMove>())];
        for (int place = 0; place < missing.Length; place++)
        {
            ReadOnlySpan<int> wanted = layout.Rows(place, rank);
            for (int slot = 0; slot < wanted.Length; slot++)
                if (wanted[slot] >= 0 && (slot >= slots[place].Length || slots[place][slot] != wanted[slot]))
                    missing[place].Add(new ReplicaMove(slot, wanted[slot]));
        }
        return missing;
    }

    /// <summary>Reads experts for <see cref="Swap"/>, which comes before the next call. One thread, any.</summary>
    /// <param name="next"><c>[layers with experts]</c>, slots counted from this rank's first.</param>
    public void Stage(IReadOnlyList<ReplicaMove>[] next)
    {
        staged?.Dispose(); // of a change that came to nothing
        staged = null;
        moves = next;
        if (Array.TrueForAll(next, list => list.Count == 0))
            return;
        beside ??= backend.Beside();
        staged = Load(beside, place => next[place].Select(move => move.Expert).ToArray(), withShared: false);
    }

    /// <summary>Puts what is staged into its slots.</summary>
    public void Swap()
    {
        if (staged is null)
            return;
        long begun = Stopwatch.GetTimestamp();
        for (int place = 0; place < moves.Length; place++)
        {
            for (int i = 0; i < moves[place].Count; i++)
            {
                Experts(place).Replace(backend, moves[place][i].Slot, staged[layers[place]], i);
                slots[place][moves[place][i].Slot] = moves[place][i].Expert;
                LoadedBytes += Experts(place).ExpertBytes;
            }
        }
        backend.Synchronize(); // before what is staged is given back
        LongestSwap = Math.Max(LongestSwap, Stopwatch.GetTimestamp() - begun);
        staged.Dispose();
        staged = null;
    }

    /// <summary>The same after ranks were gone or had come, where it stops nobody who could go on.</summary>
    public void Recover(ExpertLayout layout, int rank)
    {
        Loads++;
        if (layout.SlotsPerRank <= slots[0].Length)
        {
            Swap();
            return;
        }
        for (int place = 0; place < slots.Length; place++)
            slots[place] = layout.Rows(place, rank).ToArray();
        ExpertShelf old = Shelf;
        Shelf = Load(backend, place => Filled(slots[place]), shared);
        old.Dispose();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        staged?.Dispose();
        beside?.Dispose();
        Shelf.Dispose();
    }

    private Models.Layers.Experts Experts(int place) => Shelf[layers[place]];

    private ExpertShelf Load(Backend on, Func<int, int[]> held, bool withShared)
    {
        Dictionary<int, int> places = layers.Select((layer, place) => (layer, place)).ToDictionary();
        return ExpertShelf.Load(checkpoint, on, quantization, layer => held(places[layer]), withShared);
    }

    /// <summary>Slots without an expert get one of the others, so that there is a weight to be replaced.</summary>
    private static int[] Filled(int[] slots)
    {
        int any = Math.Max(0, slots.Max());
        return [.. slots.Select(expert => expert < 0 ? any : expert)];
    }
}
