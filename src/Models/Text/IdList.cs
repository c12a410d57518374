using System.Buffers;

namespace XDeepServe.Models.Text;

/// <summary>A growing list of token ids in a rented buffer, given back on disposal.</summary>
internal sealed class IdList : IDisposable
{
    private int[] items;

    /// <summary>Makes an empty list.</summary>
    /// <param name="capacity">How many ids are expected.</param>
    public IdList(int capacity) => items = ArrayPool<int>.Shared.Rent(Math.Max(16, capacity));

    /// <summary>How many ids it holds.</summary>
    public int Count { get; private set; }

    /// <summary>The ids; valid until the next addition.</summary>
    public ReadOnlySpan<int> Span => items.AsSpan(0, Count);

    /// <summary>Adds one id.</summary>
    public void Add(int id)
    {
        if (Count == items.Length)
            Grow(Count + 1);
        items[Count++] = id;
    }

    /// <summary>Adds ids.</summary>
    public void Add(ReadOnlySpan<int> ids)
    {
        if (Count + ids.Length > items.Length)
            Grow(Count + ids.Length);
        ids.CopyTo(items.AsSpan(Count));
        Count += ids.Length;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        ArrayPool<int>.Shared.Return(items);
        items = [];
        Count = 0;
    }

    private void Grow(int needed)
    {
        var larger = ArrayPool<int>.Shared.Rent(Math.Max(needed, items.Length * 2));
        Span.CopyTo(larger);
        ArrayPool<int>.Shared.Return(items);
        items = larger;
    }
}
