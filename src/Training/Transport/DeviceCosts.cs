using TorchSharp;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Selection;
using static TorchSharp.torch;

namespace XDeepServe.Training.Transport;

/// <summary>
/// Euclidean distances of candidates from targets (RoVRM's cost) on a device, a block of candidates at a time. Features stay on disk; blocks of distances are kept while
/// they fit the memory given, and computed again in each pass where they do not. Targets are held whole.
/// </summary>
public sealed class DeviceCosts : IDisposable
{
    private readonly FeatureFile candidates;
    private readonly Device device;
    private readonly int blockRows;
    private readonly Tensor targets, squares; // float64 [columns, width], [1, columns]
    private readonly Tensor?[] kept;          // by block
    private readonly float[] rows;
    private long left;                        // bytes that may still be kept

    /// <summary>Describes the costs.</summary>
    /// <param name="candidates">The rows; must outlive this object.</param>
    /// <param name="targets">The columns.</param>
    /// <param name="device">Where they are computed and kept.</param>
    /// <param name="memory">Bytes of distances to keep.</param>
    /// <param name="blockRows">Candidates of a block.</param>
    /// <exception cref="DataException">The two do not go together.</exception>
    public DeviceCosts(FeatureFile candidates, FeatureFile targets, Device device, long memory, int blockRows = 2048)
    {
        candidates.Match(targets);
        (this.candidates, this.device, this.blockRows, left, Columns) = (candidates, device, blockRows, memory, targets.Rows);
        kept = new Tensor?[Count];
        rows = new float[Math.Max(blockRows, 1) * targets.Columns];
        using DisposeScope scope = NewDisposeScope();
        Tensor all = empty(targets.Rows, targets.Columns, dtype: ScalarType.Float64, device: device);
        for (int first = 0; first < targets.Rows; first += blockRows)
            all.narrow(0, first, Math.Min(blockRows, targets.Rows - first)).copy_(Read(targets, first, Math.Min(blockRows, targets.Rows - first)));
        this.targets = all.DetachFromDisposeScope();
        squares = all.square().sum(1).unsqueeze(0).DetachFromDisposeScope();
    }

    /// <summary>Candidates.</summary>
    public int Rows => candidates.Rows;

    /// <summary>Targets.</summary>
    public int Columns { get; }

    /// <summary>Blocks.</summary>
    public int Count => (Rows + blockRows - 1) / blockRows;

    /// <summary>Where they are.</summary>
    public Device Device => device;

    /// <summary>The first candidate of a block, and how many it has.</summary>
    public (int First, int Count) Range(int block) => (block * blockRows, Math.Min(blockRows, Rows - (block * blockRows)));

    /// <summary>Costs of a block's candidates.</summary>
    /// <param name="block">From 0.</param>
    /// <returns>float32 <c>[candidates of the block, columns]</c>; good until the caller's scope ends, and must not be changed.</returns>
    public Tensor Block(int block)
    {
        if (kept[block] is { } known)
            return known;
        using DisposeScope scope = NewDisposeScope();
        (int first, int count) = Range(block);
        // In float64, in which |a|² + |b|² − 2ab keeps the distance of near vectors.
        Tensor read = Read(candidates, first, count).to(ScalarType.Float64);
        Tensor distances = (read.square().sum(1).unsqueeze(1) + squares).sub_(read.matmul(targets.t()).mul_(2)).clamp_min_(0).sqrt_().to(ScalarType.Float32);
        long bytes = (long)count * Columns * sizeof(float);
        if (bytes > left)
            return distances.MoveToOuterDisposeScope();
        left -= bytes;
        return kept[block] = distances.DetachFromDisposeScope();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        targets.Dispose();
        squares.Dispose();
        foreach (Tensor? block in kept)
            block?.Dispose();
    }

    private Tensor Read(FeatureFile file, int first, int count)
    {
        Parallel.For(0, count, row => file.Read(first + row, rows.AsSpan(row * file.Columns, file.Columns)));
        return tensor(rows.AsMemory(0, count * file.Columns), [count, file.Columns], device: device);
    }
}
