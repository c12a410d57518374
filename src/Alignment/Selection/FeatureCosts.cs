using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using XDeepServe.Alignment.Data;

namespace XDeepServe.Alignment.Selection;

/// <summary>
/// Euclidean distances of candidates from targets (RoVRM's cost), computed a block of candidates at a time. Blocks are kept while
/// they fit the memory given, and computed again in each pass where they do not. Targets are held whole.
/// </summary>
public sealed class FeatureCosts : CostBlocks
{
    private const int Group = 16; // candidates that stay in the cache while the targets pass by
    private const int Tile = 4;   // targets whose sums stay in registers
    private readonly FeatureFile candidates;
    private readonly float[] targets;      // [columns, width]
    private readonly float[]?[] kept;      // by block
    private readonly int width;
    private long left;                     // bytes that may still be kept

    /// <summary>Describes the costs.</summary>
    /// <param name="candidates">The rows; must outlive this object.</param>
    /// <param name="targets">The columns.</param>
    /// <param name="memory">Bytes of distances to keep.</param>
    /// <exception cref="DataException">The two do not go together.</exception>
    public FeatureCosts(FeatureFile candidates, FeatureFile targets, long memory)
    {
        candidates.Match(targets);
        if ((long)targets.Rows * targets.Columns > Array.MaxLength)
            throw new DataException($"{targets.Path} holds {targets.Rows} targets of {targets.Columns} values, too many to hold at once; take a sample of them.");
        this.candidates = candidates;
        width = candidates.Columns;
        Columns = targets.Rows;
        left = memory;
        kept = new float[Count][];
        this.targets = new float[(long)targets.Rows * width];
        for (int row = 0; row < targets.Rows; row++)
            targets.Read(row, this.targets.AsSpan(row * width, width));
    }

    /// <inheritdoc/>
    public override int Rows => candidates.Rows;

    /// <inheritdoc/>
    public override int Columns { get; }

    /// <inheritdoc/>
    public override ReadOnlySpan<float> Block(int block, float[] scratch)
    {
        int rows = RowsOf(block);
        if (kept[block] is { } known)
            return known;
        long bytes = (long)rows * Columns * sizeof(float);
        bool keeps = Interlocked.Add(ref left, -bytes) >= 0;
        if (!keeps)
            Interlocked.Add(ref left, bytes);
        float[] result = keeps ? new float[rows * Columns] : scratch;
        Compute(block * BlockRows, rows, result);
        if (keeps)
            Volatile.Write(ref kept[block], result);
        return result.AsSpan(0, rows * Columns);
    }

    private void Compute(int first, int rows, float[] result)
    {
        float[] group = new float[Group * width];
        for (int row = 0; row < rows; row += Group)
        {
            int count = Math.Min(Group, rows - row);
            for (int i = 0; i < count; i++)
                candidates.Read(first + row + i, group.AsSpan(i * width, width));
            for (int column = 0; column < Columns; column += Tile)
                Distances(group, column, result, row, count);
        }
    }

    // The difference is taken before it is squared: the distance of near vectors would drown in |a|² + |b|² - 2ab.
    private void Distances(float[] group, int column, float[] result, int row, int rows)
    {
        int columns = Math.Min(Tile, Columns - column);
        ref float a = ref MemoryMarshal.GetArrayDataReference(group);
        ref float b = ref MemoryMarshal.GetArrayDataReference(targets);
        nuint w = (nuint)width;
        for (int i = 0; i < rows; i++)
        {
            nuint x = (nuint)i * w;
            nuint y0 = (nuint)column * w, y1 = (nuint)Math.Min(column + 1, Columns - 1) * w, y2 = (nuint)Math.Min(column + 2, Columns - 1) * w, y3 = (nuint)Math.Min(column + 3, Columns - 1) * w;
            Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default;
            nuint at = 0;
            for (; at + 16 <= w; at += 16)
            {
                Vector512<float> value = Vector512.LoadUnsafe(ref a, x + at);
                Vector512<float> d0 = value - Vector512.LoadUnsafe(ref b, y0 + at), d1 = value - Vector512.LoadUnsafe(ref b, y1 + at);
                Vector512<float> d2 = value - Vector512.LoadUnsafe(ref b, y2 + at), d3 = value - Vector512.LoadUnsafe(ref b, y3 + at);
                s0 = Vector512.FusedMultiplyAdd(d0, d0, s0);
                s1 = Vector512.FusedMultiplyAdd(d1, d1, s1);
                s2 = Vector512.FusedMultiplyAdd(d2, d2, s2);
                s3 = Vector512.FusedMultiplyAdd(d3, d3, s3);
            }
            Span<float> sums = [Vector512.Sum(s0), Vector512.Sum(s1), Vector512.Sum(s2), Vector512.Sum(s3)];
            for (int j = 0; j < columns; j++)
            {
                float sum = sums[j];
                for (int k = (int)at; k < width; k++)
                {
                    float difference = group[(i * width) + k] - targets[((column + j) * (long)width) + k];
                    sum += difference * difference;
                }
                result[((row + i) * Columns) + column + j] = MathF.Sqrt(sum);
            }
        }
    }
}
