using System.Numerics;

namespace XDeepServe.Xccl.Regions;

/// <summary>
/// What every rank of a group must agree on: the counts and sizes from which all offsets in a region follow. Compared by
/// fingerprint when a rank joins.
/// </summary>
public sealed record RegionGeometry
{
    /// <summary>Most ranks of one group.</summary>
    public const int MostRanks = 256;

    /// <summary>Most bytes of any one area: sums of offsets stay far from the end of their type.</summary>
    private const long MostBytes = 1L << 50;

    /// <summary>Ranks of the group.</summary>
    public required int Ranks { get; init; }

    /// <summary>Rings for each pair and direction; a large message may use several at once, each with a thread of its own.</summary>
    public int Lanes { get; init; } = 1;

    /// <summary>
    /// Slots of one ring, a power of two. A ring larger than a core's own caches is faster than one within them: its lines come
    /// back from the cache that the cores share, not out of the other core's.
    /// </summary>
    public int Slots { get; init; } = 64;

    /// <summary>Bytes of one slot, a multiple of 64: the size of a message's chunks.</summary>
    public int SlotBytes { get; init; } = 32 << 10;

    /// <summary>Bytes of the largest status record, a multiple of 64.</summary>
    public int RecordBytes { get; init; } = 4 << 10;

    /// <summary>Bytes of the app data area: what this rank may lend to its peers without a copy.</summary>
    public long AppBytes { get; init; }

    /// <summary>
    /// Bytes of one block of each exchange channel, multiples of 64. A channel has a block for each rank, twice: exchanges take turns.
    /// </summary>
    public IReadOnlyList<long> Channels { get; init; } = [];

    /// <summary>A number that differs when anything else differs.</summary>
    public ulong Fingerprint()
    {
        ulong hash = 0xCBF29CE484222325;
        Mix(ref hash, Ranks);
        Mix(ref hash, Lanes);
        Mix(ref hash, Slots);
        Mix(ref hash, SlotBytes);
        Mix(ref hash, RecordBytes);
        Mix(ref hash, AppBytes);
        foreach (long channel in Channels)
            Mix(ref hash, channel);
        return hash;
    }

    /// <summary>Refuses what has no layout.</summary>
    /// <exception cref="ArgumentException">A number is out of its range; the message says which.</exception>
    public void Check()
    {
        if (Ranks is < 1 or > MostRanks)
            throw new ArgumentException($"A group has 1 to {MostRanks} ranks, not {Ranks}.");
        if (Lanes is < 1 or > 64)
            throw new ArgumentException($"A pair has 1 to 64 lanes, not {Lanes}.");
        if (Slots is < 2 or > 1 << 16 || !BitOperations.IsPow2(Slots))
            throw new ArgumentException($"A ring has a power of two of slots from 2 to 65536, not {Slots}.");
        if (SlotBytes <= 0 || SlotBytes % 64 != 0)
            throw new ArgumentException($"A slot is a multiple of 64 bytes, not {SlotBytes}.");
        if (RecordBytes <= 0 || RecordBytes % 64 != 0)
            throw new ArgumentException($"A record is a multiple of 64 bytes, not {RecordBytes}.");
        if (AppBytes is < 0 or > MostBytes)
            throw new ArgumentException($"The app data area has 0 to {MostBytes} bytes, not {AppBytes}.");
        foreach (long channel in Channels)
            if (channel <= 0 || channel % 64 != 0 || channel > MostBytes / 2 / Ranks)
                throw new ArgumentException($"A channel's block is a multiple of 64 bytes, at most {MostBytes / 2 / Ranks} among {Ranks} ranks, not {channel}.");
        if ((UInt128)Ranks * (uint)Lanes * (uint)Slots * (uint)SlotBytes > MostBytes || Channels.Count > 1024)
            throw new ArgumentException($"{Ranks} ranks, {Lanes} lanes, {Slots} slots of {SlotBytes} bytes and {Channels.Count} channels are more than a region can hold.");
    }

    private static void Mix(ref ulong hash, long value)
    {
        hash = (hash ^ (ulong)value) * 0x100000001B3;
        hash ^= hash >> 29;
    }
}
