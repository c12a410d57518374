using System.Numerics;

namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// Rows of a paged cache that serve as keys and as values, copied as singles a partition at a time: worth it where many queries read them. Runs are
/// as long as the first-level cache has room for.
/// </summary>
/// <param name="rows">Where they lie.</param>
/// <param name="type">Their type.</param>
/// <param name="width">Elements of a row.</param>
/// <param name="copies"><c>[Partition, width]</c></param>
internal readonly unsafe struct CopiedRuns(PagedRuns rows, ElementType type, int width, float* copies) : IKeyRuns
{
    private const int RunBytes = 40 * 1024;

    /// <inheritdoc/>
    public static bool Scattered => false;

    /// <inheritdoc/>
    public int Length { get; } = Math.Clamp(1 << BitOperations.Log2((uint)(RunBytes / (width * sizeof(float)))), 4, QueryTiles.Partition);

    /// <summary>Memory that the copies need.</summary>
    public static long CopyBytes(int width) => (long)QueryTiles.Partition * width * sizeof(float);

    /// <inheritdoc/>
    public void Enter(int first, int count)
    {
        for (int start = 0; start < count;)
        {
            // A partition begins at a multiple of a block's positions, or within a block that is longer than a partition.
            int length = Math.Min(rows.Length, count - start);
            KeyRun from = rows.Keys(first + start);
            for (int i = 0; i < length; i++, start++)
            {
                Span<float> target = new(copies + (long)start * width, width);
                if (type == ElementType.BF16)
                    BFloat16.ToSingle(new ReadOnlySpan<ushort>(from.Row(i), width), target);
                else
                    new ReadOnlySpan<float>(from.Row(i), width).CopyTo(target);
            }
        }
    }

    /// <inheritdoc/>
    public KeyRun Keys(int first) => new((nint)(copies + (long)(first % QueryTiles.Partition) * width), (long)width * sizeof(float));

    /// <inheritdoc/>
    public KeyRun Values(int first) => Keys(first);
}
