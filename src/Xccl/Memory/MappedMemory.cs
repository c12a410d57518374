using XDeepServe.Xccl.Regions;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Xccl.Memory;

/// <summary>A peer's region mapped into this process: every operation is an ordinary load or store.</summary>
/// <param name="region">The mapping; the caller keeps it alive.</param>
public sealed unsafe class MappedMemory(SharedRegion region) : PeerMemory
{
    private readonly byte* start = region.Start;
    private readonly long length = region.Layout.TotalBytes;
    private readonly MappedWords words = new(region.Start);
    private readonly Doorbell<MappedWords> bell = new(new MappedWords(region.Start), RegionHeader.BellOffset, region.Sleeps);

    /// <inheritdoc/>
    public override void Put(long offset, void* source, long bytes) => BlockCopy.Run(start + offset, (byte*)source, bytes);

    /// <inheritdoc/>
    public override void Get(void* destination, long offset, long bytes) => BlockCopy.Run((byte*)destination, start + offset, bytes);

    /// <inheritdoc/>
    public override void Signal(long offset, ulong value)
    {
        words.Publish(offset, value);
        bell.Ring();
    }

    /// <inheritdoc/>
    public override byte* Map(long offset, long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, length - bytes);
        return start + offset;
    }
}
