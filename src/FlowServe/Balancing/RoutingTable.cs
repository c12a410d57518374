namespace XDeepServe.FlowServe.Balancing;

/// <summary>
/// Spreads a layer's tokens over replicas without communication (paper §4.5): a table [token position, logical expert] of
/// physical slots, made once for a placement, in which each column goes round its expert's slots. Groups begin at different
/// slots, so that their first tokens do not all meet in the same one. Never changes.
/// </summary>
public sealed class RoutingTable
{
    private readonly int[] table; // [positions, experts]
    private readonly int experts;

    /// <summary>Writes the table.</summary>
    /// <param name="placement">Where the experts are.</param>
    /// <param name="positions">Token positions of a step; a later one begins again at the first row.</param>
    /// <param name="group">Number of the group whose tokens are routed: its offset.</param>
    public RoutingTable(ExpertPlacement placement, int positions, int group)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(positions);
        ArgumentOutOfRangeException.ThrowIfNegative(group);
        (experts, Positions) = (placement.Experts, positions);
        table = new int[positions * experts];
        for (int expert = 0; expert < experts; expert++)
        {
            ReadOnlySpan<int> slots = placement.SlotsOf(expert);
            for (int position = 0, next = group % slots.Length; position < positions; position++)
            {
                table[position * experts + expert] = slots[next];
                next = next + 1 == slots.Length ? 0 : next + 1;
            }
        }
    }

    /// <summary>Rows.</summary>
    public int Positions { get; }

    /// <summary>The whole table <c>[positions, experts]</c>.</summary>
    public ReadOnlySpan<int> Entries => table;

    /// <summary>Turns the router's choices into slots.</summary>
    /// <param name="ids">Logical experts <c>[tokens, topK]</c>; the first row stands at position 0.</param>
    /// <param name="topK">Experts of a token.</param>
    /// <param name="slots">Receives physical slots <c>[tokens, topK]</c>; may be <paramref name="ids"/> itself.</param>
    public void Map(ReadOnlySpan<int> ids, int topK, Span<int> slots)
    {
        int row = 0;
        for (int start = 0; start < ids.Length; start += topK)
        {
            for (int i = start; i < start + topK; i++)
                slots[i] = table[row + ids[i]];
            row = row + experts == table.Length ? 0 : row + experts;
        }
    }
}
