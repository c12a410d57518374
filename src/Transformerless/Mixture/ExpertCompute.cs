using System.Diagnostics;
using System.Runtime.InteropServices;
using XDeepServe.Kernels;
using XDeepServe.Models;
using XDeepServe.Models.Layers;
using XDeepServe.Xccl.Tokens;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>Runs a rank's experts on rows that have come through an exchange. One thread at a time; allocates nothing while it runs.</summary>
internal sealed class ExpertCompute : IDisposable
{
    /// <summary>Pairs of the larger batch that is measured before the rank begins.</summary>
    public const int ManyPairs = 64;

    private const int Passes = 5; // of a measurement

    private const int MostPairs = 4096; // at once; more are run in parts
    private readonly Backend backend;
    private readonly HeldExperts held;
    private readonly Arena arena;
    private readonly Scratch scratch;
    private readonly Tensor rows;          // F32 [received, hidden]
    private readonly Tensor origins, ids;  // I32 [pairs, 1]: row and place of each (row, expert)
    private readonly Tensor input, output; // F32 [pairs, hidden]
    private readonly int[] hostOrigins, hostIds, targets; // [pairs]; targets: row · topK + k
    private readonly float[] hostOutput;   // [pairs, hidden]
    private readonly int topK, hidden;

    /// <summary>Takes memory for the largest batch.</summary>
    /// <param name="backend">Runs the experts; stays the caller's.</param>
    /// <param name="held">The experts; the compute's from here on.</param>
    /// <param name="shape">Shape of the rows.</param>
    /// <param name="mostRows">Most rows that come at once.</param>
    public ExpertCompute(Backend backend, HeldExperts held, TokenShape shape, int mostRows)
    {
        (this.backend, this.held, topK, hidden) = (backend, held, shape.TopK, shape.Hidden);
        int pairs = (int)Math.Min(MostPairs, (long)mostRows * topK);
        long scratchBytes = ExpertShelf.LayersOf(held.Shelf.Config).Max(layer => Math.Max(held.Shelf[layer].ScratchBytes(pairs), held.Shelf.Shared(layer)?.ScratchBytes(pairs) ?? 0));
        arena = backend.CreateArena(
            Arena.BytesFor(ElementType.F32, mostRows, hidden) + (2 * Arena.BytesFor(ElementType.I32, pairs, 1))
            + (2 * Arena.BytesFor(ElementType.F32, pairs, hidden)) + Scratch.ArenaBytes(scratchBytes));
        rows = arena.Allocate(ElementType.F32, mostRows, hidden);
        (origins, ids) = (arena.Allocate(ElementType.I32, pairs, 1), arena.Allocate(ElementType.I32, pairs, 1));
        (input, output) = (arena.Allocate(ElementType.F32, pairs, hidden), arena.Allocate(ElementType.F32, pairs, hidden));
        scratch = new Scratch(arena, scratchBytes);
        (hostOrigins, hostIds, targets, hostOutput) = (new int[pairs], new int[pairs], new int[pairs], new float[pairs * hidden]);
    }

    /// <summary>(row, expert) pairs computed so far.</summary>
    public long Pairs { get; private set; }

    /// <summary>Runs every (row, slot) of a batch whose slot is here.</summary>
    /// <param name="layer">The layer's number in the model.</param>
    /// <param name="batch">What has come.</param>
    /// <param name="received">F32 <c>[rows, hidden]</c>.</param>
    /// <param name="outputs">F32 <c>[rows, topK, hidden]</c>: a row for each pair; others stay as they are.</param>
    public void Run(int layer, ExpertBatch batch, ReadOnlySpan<byte> received, Span<byte> outputs)
    {
        if (batch.Rows == 0)
            return;
        backend.Upload(rows, MemoryMarshal.Cast<byte, float>(received)[..(batch.Rows * hidden)]);
        Run(layer, batch.Slots, MemoryMarshal.Cast<byte, float>(outputs));
    }

    /// <summary>
    /// Measures what a batch takes where nothing keeps the rank from its work, before it begins: with one pair and with
    /// <see cref="ManyPairs"/>, the mean of all layers, each in its turn as while serving. Of several passes the fastest counts: the
    /// others of a service start beside it.
    /// </summary>
    public (TimeSpan One, TimeSpan Many) Measure()
    {
        int many = Math.Min(ManyPairs, hostIds.Length), count = (many + topK - 1) / topK;
        backend.Upload<float>(rows.Take(count), [.. Enumerable.Range(0, count * hidden).Select(i => MathF.Sin(i))]);
        IReadOnlyList<int> layers = ExpertShelf.LayersOf(held.Shelf.Config);
        int targets = held.Slots(0).Length + (held.Shelf.Shared(layers[0]) is null ? 0 : 1);
        int[] slots = [.. Enumerable.Range(0, many).Select(pair => pair % targets)];
        float[] outputs = new float[many * hidden];
        Pass(many); // warms up
        (TimeSpan One, TimeSpan Many) taken = (Fastest(1), Fastest(many));
        Pairs = 0;
        return taken;

        TimeSpan Fastest(int pairs) => Enumerable.Range(0, Passes).Min(_ => Pass(pairs));

        TimeSpan Pass(int pairs)
        {
            long begun = Stopwatch.GetTimestamp();
            foreach (int layer in layers)
                Run(layer, slots.AsSpan(0, pairs), outputs);
            return Stopwatch.GetElapsedTime(begun) / layers.Count;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        arena.Dispose();
        held.Dispose();
    }

    private void Run(int layer, ReadOnlySpan<int> slots, Span<float> target)
    {
        Run(layer, slots, target, null);
        if (held.Shelf.Shared(layer) is { } shared)
            Run(layer, slots, target, shared);
    }

    /// <summary>The pairs of the shared experts, whose slot is behind the others, or those of the others.</summary>
    private void Run(int layer, ReadOnlySpan<int> slots, Span<float> target, DenseFeedForward? shared)
    {
        int last = held.Slots(0).Length, count = 0;
        for (int pair = 0; pair < slots.Length; pair++)
        {
            if (slots[pair] < 0 || slots[pair] == last != shared is not null)
                continue;
            (hostOrigins[count], hostIds[count], targets[count]) = (pair / topK, slots[pair], pair);
            if (++count < hostIds.Length)
                continue;
            Run(layer, count, target, shared);
            count = 0;
        }
        if (count > 0)
            Run(layer, count, target, shared);
    }

    private void Run(int layer, int count, Span<float> target, DenseFeedForward? shared)
    {
        Pairs += count;
        backend.Upload<int>(origins, hostOrigins.AsSpan(0, count));
        backend.GatherRows(input.Take(count), rows, origins.Take(count));
        scratch.Rewind();
        if (shared is not null)
        {
            shared.Run(backend, output.Take(count), input.Take(count), scratch);
        }
        else
        {
            backend.Upload<int>(ids, hostIds.AsSpan(0, count));
            held.Shelf[layer].Run(backend, output.Take(count), input.Take(count), ids.Take(count), scratch);
        }
        backend.Download(output.Take(count), hostOutput.AsSpan(0, count * hidden));
        for (int i = 0; i < count; i++)
            hostOutput.AsSpan(i * hidden, hidden).CopyTo(target.Slice(targets[i] * hidden, hidden));
    }
}
