namespace XDeepServe.FlowServe.Balancing;

/// <summary>
/// Moves of a layer that are made together while it serves (paper §4.5): slots are given up, loaded with other experts, and taken
/// into use again. Every expert has a slot at any time.
/// </summary>
/// <param name="Moves">What is loaded.</param>
/// <param name="Disabled">Without the slots that are loaded.</param>
/// <param name="Restored">With them.</param>
public sealed record PlacementWave(IReadOnlyList<ReplicaMove> Moves, ExpertPlacement Disabled, ExpertPlacement Restored)
{
    /// <summary>
    /// The way from one placement to another. A slot is loaded when its expert has another slot by then; where experts would have to
    /// trade places and there is no free slot, they stay.
    /// </summary>
    /// <param name="from">Where experts are.</param>
    /// <param name="to">Where they should be; as many slots.</param>
    public static IReadOnlyList<PlacementWave> Between(ExpertPlacement from, ExpertPlacement to)
    {
        List<PlacementWave> waves = [];
        List<ReplicaMove> left = [.. from.MovesTo(to)];
        int[] slots = from.Slots.ToArray(), copies = new int[from.Experts];
        for (int expert = 0; expert < copies.Length; expert++)
            copies[expert] = from.SlotsOf(expert).Length;
        List<int> dropped = [.. Enumerable.Range(0, slots.Length).Where(slot => slots[slot] >= 0 && to.Slots[slot] < 0)];
        while (left.Count + dropped.Count > 0)
        {
            List<ReplicaMove> moves = left.FindAll(move => TryEmpty(move.Slot));
            int gone = dropped.RemoveAll(TryEmpty);
            if (moves.Count + gone == 0)
                break;
            ExpertPlacement disabled = new(from.Experts, from.SlotsPerRank, slots);
            foreach (ReplicaMove move in moves)
            {
                slots[move.Slot] = move.Expert;
                copies[move.Expert]++;
            }
            left.RemoveAll(moves.Contains);
            waves.Add(new PlacementWave(moves, disabled, new ExpertPlacement(from.Experts, from.SlotsPerRank, slots)));
        }
        return waves;

        bool TryEmpty(int slot)
        {
            int expert = slots[slot];
            if (expert >= 0 && copies[expert] == 1)
                return false;
            if (expert >= 0)
                copies[expert]--;
            slots[slot] = -1;
            return true;
        }
    }
}
