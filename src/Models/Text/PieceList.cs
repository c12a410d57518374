namespace XDeepServe.Models.Text;

/// <summary>Ranges of a text, in order.</summary>
internal sealed class PieceList
{
    private (int Start, int Length)[] items = new (int, int)[64];

    /// <summary>How many ranges it holds.</summary>
    public int Count { get; private set; }

    /// <summary>The ranges; valid until the next addition.</summary>
    public ReadOnlySpan<(int Start, int Length)> Span => items.AsSpan(0, Count);

    /// <summary>Adds a range unless it is empty.</summary>
    public void Add(int start, int length)
    {
        if (length == 0)
            return;
        if (Count == items.Length)
            Array.Resize(ref items, Count * 2);
        items[Count++] = (start, length);
    }

    /// <summary>Forgets all ranges and keeps the memory.</summary>
    public void Clear() => Count = 0;
}
