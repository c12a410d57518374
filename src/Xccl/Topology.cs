using XDeepServe.Xccl.Regions;
using XDeepServe.Xccl.Tokens;

namespace XDeepServe.Xccl;

/// <summary>
/// Who has attention and who has experts: ranks 0 to attention - 1 have attention, the next have experts. With trampolines,
/// attention rank r talks to the expert rank of index r mod T alone, T = min(attention, experts), which passes its tokens on.
/// [paper 3.3]
/// </summary>
/// <param name="AttentionRanks">A.</param>
/// <param name="ExpertRanks">E.</param>
/// <param name="SlotsPerRank">Expert slots of each expert rank: slot s is that of expert rank index s / SlotsPerRank.</param>
/// <param name="Trampolines">Tokens and answers go through trampolines.</param>
public sealed record Topology(int AttentionRanks, int ExpertRanks, int SlotsPerRank, bool Trampolines)
{
    /// <summary>T.</summary>
    public int TrampolineRanks => Math.Min(AttentionRanks, ExpertRanks);

    /// <summary>Attention ranks that one trampoline serves at most.</summary>
    internal int Segments => Trampolines ? (AttentionRanks + TrampolineRanks - 1) / TrampolineRanks : 1;

    /// <summary>Block sizes of the channels that a topology needs, for the geometry: two, or four with trampolines.</summary>
    /// <exception cref="ArgumentException">The topology or the shape is impossible.</exception>
    public IReadOnlyList<long> Channels(TokenShape shape)
    {
        shape.Check();
        if (AttentionRanks < 1 || ExpertRanks < 1 || SlotsPerRank < 1)
            throw new ArgumentException($"A topology needs attention ranks, expert ranks and slots, not {AttentionRanks}, {ExpertRanks}, {SlotsPerRank}.");
        long[] direct = [shape.DispatchBlock(1), AtLeastOneLine(shape.CombineBlock(1))];
        return Trampolines ? [.. direct, shape.DispatchBlock(Segments), AtLeastOneLine(shape.CombineBlock(Segments))] : direct;
    }

    /// <summary>Ranks of attention.</summary>
    internal int[] Attention() => [.. Enumerable.Range(0, AttentionRanks)];

    /// <summary>Ranks of experts.</summary>
    internal int[] Experts() => [.. Enumerable.Range(AttentionRanks, ExpertRanks)];

    /// <summary>Ranks of trampolines: the first expert ranks.</summary>
    internal int[] TrampolineList() => [.. Enumerable.Range(AttentionRanks, TrampolineRanks)];

    /// <summary>The trampoline of an attention rank.</summary>
    internal int TrampolineOf(int attentionRank) => AttentionRanks + (attentionRank % TrampolineRanks);

    /// <summary>The attention ranks of a trampoline.</summary>
    internal int[] ServedBy(int trampolineRank) =>
        [.. Enumerable.Range(0, AttentionRanks).Where(rank => TrampolineOf(rank) == trampolineRank)];

    /// <exception cref="ArgumentException">The ranks do not add up, or the channels are too small.</exception>
    internal void Check(Communicator group, TokenShape shape, int channel)
    {
        IReadOnlyList<long> needed = Channels(shape);
        if (AttentionRanks + ExpertRanks != group.Ranks)
            throw new ArgumentException($"{AttentionRanks} attention and {ExpertRanks} expert ranks with {SlotsPerRank} slots are no topology for a group of {group.Ranks}.");
        CheckChannels(group, channel, needed);
    }

    internal static long AtLeastOneLine(long bytes) => Math.Max(bytes, RegionLayout.FieldBytes);

    internal static void CheckChannels(Communicator group, int channel, IReadOnlyList<long> needed)
    {
        for (int index = 0; index < needed.Count; index++)
            if (channel + index >= group.Geometry.Channels.Count || group.Geometry.Channels[channel + index] < needed[index])
                throw new ArgumentException($"Channel {channel + index} needs blocks of {needed[index]} bytes: put what Channels returns into the group's geometry.");
    }
}
