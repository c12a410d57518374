using System.Buffers;

namespace XDeepServe.Models.Text;

/// <summary>Candidate merges, the lowest rank first and the leftmost of equals: a heap with four children a node.</summary>
internal sealed class MergeQueue : IDisposable
{
    private ulong[] items; // rank << 32 | position

    /// <summary>Makes an empty queue in a rented buffer, given back on disposal.</summary>
    /// <param name="capacity">How many candidates are expected.</param>
    public MergeQueue(int capacity) => items = ArrayPool<ulong>.Shared.Rent(Math.Max(16, capacity));

    /// <summary>How many candidates wait.</summary>
    public int Count { get; private set; }

    /// <summary>Adds a candidate.</summary>
    /// <param name="rank">Its rank.</param>
    /// <param name="position">Where its left symbol stands.</param>
    public void Add(uint rank, int position)
    {
        if (Count == items.Length)
        {
            var larger = ArrayPool<ulong>.Shared.Rent(items.Length * 2);
            items.AsSpan(0, Count).CopyTo(larger);
            ArrayPool<ulong>.Shared.Return(items);
            items = larger;
        }
        var item = ((ulong)rank << 32) | (uint)position;
        var node = Count++;
        for (int parent; node > 0 && items[parent = (node - 1) / 4] > item; node = parent)
            items[node] = items[parent];
        items[node] = item;
    }

    /// <summary>Takes the first candidate.</summary>
    public (uint Rank, int Position) Take()
    {
        var first = items[0];
        var item = items[--Count];
        var node = 0;
        while (node * 4 + 1 < Count)
        {
            var child = node * 4 + 1;
            for (var other = child + 1; other < Math.Min(node * 4 + 5, Count); other++)
                if (items[other] < items[child])
                    child = other;
            if (items[child] >= item)
                break;
            items[node] = items[child];
            node = child;
        }
        items[node] = item;
        return ((uint)(first >> 32), (int)(uint)first);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        ArrayPool<ulong>.Shared.Return(items);
        items = [];
        Count = 0;
    }
}
