namespace XDeepServe.Xccl.Regions;

/// <summary>
/// Where everything lies in a region, derived from the geometry. In order: header page, metadata area (fields of one cache
/// line), managed data area (rings, exchange blocks), app data area. [paper 3.1]
/// </summary>
public sealed class RegionLayout
{
    /// <summary>A metadata field: one cache line, so that two writers never share one.</summary>
    public const int FieldBytes = 64;

    /// <summary>Exchanges take turns between two sets of fields and blocks.</summary>
    public const int Turns = 2;

    private const long Page = 4096;
    private readonly RegionGeometry geometry;
    private readonly long links, ringFields, acknowledgements, exchangeFields, releases, records, ringSlots;
    private readonly long[] channels;

    /// <summary>Derives the offsets.</summary>
    /// <exception cref="ArgumentException">The geometry has no layout.</exception>
    public RegionLayout(RegionGeometry geometry)
    {
        geometry.Check();
        this.geometry = geometry;
        long ranks = geometry.Ranks, pairs = ranks * geometry.Lanes, end = RegionHeader.Bytes;
        links = Take(ref end, ranks * FieldBytes);
        acknowledgements = Take(ref end, pairs * FieldBytes);
        ringFields = Take(ref end, pairs * geometry.Slots * FieldBytes);
        exchangeFields = Take(ref end, geometry.Channels.Count * Turns * ranks * FieldBytes);
        releases = Take(ref end, geometry.Channels.Count * ranks * FieldBytes);
        records = Take(ref end, Turns * ranks * RecordStride);
        Managed = end = Aligned(end);
        ringSlots = Take(ref end, pairs * geometry.Slots * geometry.SlotBytes);
        channels = new long[geometry.Channels.Count];
        for (int channel = 0; channel < channels.Length; channel++)
            channels[channel] = Take(ref end, Turns * ranks * geometry.Channels[channel]);
        App = Aligned(end);
        TotalBytes = Aligned(App + geometry.AppBytes);
    }

    /// <summary>First byte of the managed data area.</summary>
    public long Managed { get; }

    /// <summary>First byte of the app data area.</summary>
    public long App { get; }

    /// <summary>Bytes of the whole region.</summary>
    public long TotalBytes { get; }

    private long RecordStride => FieldBytes + geometry.RecordBytes;

    /// <summary>The word in which a peer announces the epoch that has mapped this region.</summary>
    public long Link(int peer) => links + (long)peer * FieldBytes;

    /// <summary>First field of the ring in which a peer's messages to this rank arrive.</summary>
    public long RingFields(int peer, int lane) => ringFields + Pair(peer, lane) * geometry.Slots * FieldBytes;

    /// <summary>First slot of the ring in which a peer's messages to this rank arrive.</summary>
    public long RingSlots(int peer, int lane) => ringSlots + Pair(peer, lane) * geometry.Slots * geometry.SlotBytes;

    /// <summary>The word in which a peer acknowledges messages that this rank sent.</summary>
    public long Acknowledgement(int peer, int lane) => acknowledgements + Pair(peer, lane) * FieldBytes;

    /// <summary>The field in which a producer announces its block to this rank.</summary>
    public long ExchangeField(int channel, uint sequence, int producer) =>
        exchangeFields + ((channel * Turns + sequence % Turns) * geometry.Ranks + producer) * FieldBytes;

    /// <summary>The word in which a consumer says which of this rank's blocks it has finished with.</summary>
    public long Release(int channel, int consumer) => releases + ((long)channel * geometry.Ranks + consumer) * FieldBytes;

    /// <summary>This rank's block for a consumer.</summary>
    public long Block(int channel, uint sequence, int consumer) =>
        channels[channel] + (sequence % Turns * geometry.Ranks + consumer) * geometry.Channels[channel];

    /// <summary>The field, and behind it the bytes, of a peer's status record.</summary>
    public long Record(uint sequence, int peer) => records + (sequence % Turns * geometry.Ranks + peer) * RecordStride;

    private long Pair(int peer, int lane) => (long)peer * geometry.Lanes + lane;

    private static long Take(ref long end, long bytes)
    {
        long start = end;
        end += bytes;
        return start;
    }

    private static long Aligned(long offset) => (offset + Page - 1) / Page * Page;
}
