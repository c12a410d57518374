using System.Diagnostics;
using System.IO.MemoryMappedFiles;
using System.Runtime.CompilerServices;

namespace XDeepServe.Xccl.Regions;

/// <summary>
/// One rank's part of the shared memory: a file below /dev/shm that its owner made and its peers map. Readable and writable by
/// the owner's account alone. The file's name goes when the owner closes it, or when anybody finds that the owner is dead; the
/// memory goes with the last mapping.
/// </summary>
public sealed unsafe class SharedRegion : IDisposable
{
    private readonly MemoryMappedFile file;
    private readonly MemoryMappedViewAccessor view;
    private readonly string path;
    private readonly bool owned;
    private bool disposed;

    private SharedRegion(string path, FileStream stream, RegionGeometry geometry, RegionLayout layout, bool owned)
    {
        this.path = path;
        this.owned = owned;
        Geometry = geometry;
        Layout = layout;
        file = MemoryMappedFile.CreateFromFile(stream, null, layout.TotalBytes, MemoryMappedFileAccess.ReadWrite, HandleInheritability.None, leaveOpen: false);
        view = file.CreateViewAccessor(0, layout.TotalBytes);
        byte* start = null;
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        Start = start;
    }

    /// <summary>The counts and sizes that the group agreed on.</summary>
    public RegionGeometry Geometry { get; }

    /// <summary>Where everything lies.</summary>
    public RegionLayout Layout { get; }

    /// <summary>First byte, in this process.</summary>
    public byte* Start { get; }

    /// <summary>Differs for every owner, and grows: a restarted rank's is larger than its predecessor's.</summary>
    public ulong Epoch => Header.Epoch;

    /// <summary>The owner's rank.</summary>
    public int Rank => Header.Rank;

    /// <summary>The owner's waits may sleep, so that signals must ring its bell.</summary>
    public bool Sleeps => Header.Sleeps != 0;

    internal ref RegionHeader Header => ref Unsafe.AsRef<RegionHeader>(Start);

    internal ProcessIdentity Owner => Header.Owner;

    internal RegionState State => (RegionState)Volatile.Read(ref Header.State);

    /// <summary>Makes the region of a rank, in place of one whose owner is dead.</summary>
    /// <param name="group">Name of the group: letters, digits, underscores.</param>
    /// <param name="rank">The owner's rank.</param>
    /// <param name="geometry">What the group agrees on.</param>
    /// <param name="sleeps">The owner's waits may sleep.</param>
    /// <exception cref="IOException">The rank is taken by a living process, or shared memory is short.</exception>
    public static SharedRegion Create(string group, int rank, RegionGeometry geometry, bool sleeps)
    {
        RegionLayout layout = new(geometry);
        ArgumentOutOfRangeException.ThrowIfNegative(rank);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(rank, geometry.Ranks);
        RegionFiles.Sweep();
        string draft = RegionFiles.DraftPath(group, rank);
        SharedRegion region = new(RegionFiles.Path(group, rank), RegionFiles.OpenNew(draft, layout.TotalBytes), geometry, layout, owned: true);
        try
        {
            ref RegionHeader header = ref region.Header;
            header.Magic = RegionHeader.MagicNumber;
            header.Version = RegionHeader.CurrentVersion;
            header.Geometry = geometry.Fingerprint();
            header.Rank = rank;
            header.Ranks = geometry.Ranks;
            header.Sleeps = sleeps ? 1u : 0u;
            header.Owner = ProcessIdentity.Own();
            // The machine's monotonic clock: no two owners of a rank can get the same, and a later one gets more.
            header.Epoch = (ulong)Stopwatch.GetTimestamp();
            Volatile.Write(ref header.State, (ulong)RegionState.Ready);
            RegionFiles.Claim(draft, region.path);
            return region;
        }
        catch
        {
            region.Unmap();
            File.Delete(draft);
            throw;
        }
    }

    /// <summary>Maps a peer's region if it is there, complete and its owner alive.</summary>
    /// <returns>Null if there is none (yet).</returns>
    /// <exception cref="IOException">It was made with another version or geometry, or by another account.</exception>
    public static SharedRegion? TryOpen(string group, int rank, RegionGeometry geometry)
    {
        string path = RegionFiles.Path(group, rank);
        RegionHeader header;
        FileStream? stream = RegionFiles.TryOpen(path);
        if (stream is null)
            return null;
        try
        {
            if (stream.ReadAtLeast(new Span<byte>(&header, RegionHeader.Bytes), RegionHeader.Bytes, throwOnEndOfStream: false) < RegionHeader.Bytes)
                throw new IOException($"{path} is no region of this library: remove it.");
            if (header.Magic != RegionHeader.MagicNumber || header.Version != RegionHeader.CurrentVersion)
                throw new IOException($"Rank {rank} of group '{group}' speaks version {header.Version} of the region layout, this process {RegionHeader.CurrentVersion}: run the same build on all ranks.");
            if (!header.Owner.IsHere)
                throw new IOException($"Rank {rank} of group '{group}' was started in another process id namespace, where nobody here could see it die: start all ranks in one container, or let the containers share their process ids.");
            if (header.State != (ulong)RegionState.Ready || !header.Owner.IsAlive())
            {
                stream.Dispose();
                return null;
            }
            if (header.Geometry != geometry.Fingerprint() || header.Ranks != geometry.Ranks || header.Rank != rank)
                throw new IOException($"Rank {rank} of group '{group}' joined with another geometry ({header.Ranks} ranks): give all ranks the same settings.");
            return new SharedRegion(path, stream, geometry, new RegionLayout(geometry), owned: false);
        }
        catch
        {
            stream.Dispose();
            throw;
        }
    }

    /// <summary>Unmaps; the owner also marks the region closed and removes its name.</summary>
    public void Dispose()
    {
        if (disposed)
            return;
        if (owned)
        {
            Volatile.Write(ref Header.State, (ulong)RegionState.Closed);
            File.Delete(path);
        }
        Unmap();
    }

    private void Unmap()
    {
        disposed = true;
        view.SafeMemoryMappedViewHandle.ReleasePointer();
        view.Dispose();
        file.Dispose();
    }
}
