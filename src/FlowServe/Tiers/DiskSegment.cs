using System.IO.Hashing;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace XDeepServe.FlowServe.Tiers;

/// <summary>
/// A file of cache blocks: a header of 64 bytes (magic, version, capacity, format, check), a table of
/// <c>[capacity]</c> entries, then <c>[capacity]</c> blocks. Blocks are only ever added, content first, entry second, each with a
/// check: whatever was not written to its end, or rotted, does not match and counts as not there. One process adds, any may
/// read. One thread.
/// </summary>
internal sealed class DiskSegment : IDisposable
{
    public const int HeaderBytes = 64;
    private const int Page = 4096;
    private const ulong Magic = 0x31564B_5344_58UL; // "XDSKV1", little-endian
    private readonly DiskFormat format;
    private readonly ulong fingerprint;
    private readonly SafeFileHandle file;
    private readonly byte[] entry;
    private readonly List<ulong> hashes = [];
    private readonly int capacity;
    private readonly bool owned;
    private long touchedAt;

    private DiskSegment(string path, SafeFileHandle file, DiskFormat format, int capacity, bool owned)
    {
        (Path, this.file, this.format, this.capacity, this.owned) = (path, file, format, capacity, owned);
        fingerprint = format.Fingerprint;
        entry = new byte[format.EntryBytes];
    }

    public string Path { get; }

    /// <summary>Hashes of its blocks, in order of slot.</summary>
    public IReadOnlyList<ulong> Hashes => hashes;

    public bool IsFull => hashes.Count == capacity;

    /// <summary>Whether this process adds to it.</summary>
    public bool IsOwned => owned;

    /// <summary>Length of a file of some capacity.</summary>
    public static long Length(DiskFormat format, int capacity) => Contents(format, capacity) + (long)capacity * format.BlockBytes;

    /// <summary>Most blocks of a file of at most some bytes.</summary>
    public static int CapacityFor(DiskFormat format, long bytes) =>
        (int)Math.Clamp((bytes - HeaderBytes - Page) / (format.EntryBytes + format.BlockBytes), 0, 1 << 20);

    /// <summary>Makes an empty file.</summary>
    /// <exception cref="IOException">There is no room, or the folder cannot be written.</exception>
    public static DiskSegment Create(string path, DiskFormat format, int capacity)
    {
        SafeFileHandle file = File.OpenHandle(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        try
        {
            RandomAccess.SetLength(file, Length(format, capacity)); // sparse: takes room as it fills, but counts in full
            RandomAccess.Write(file, Header(format, capacity), 0);
            return new DiskSegment(path, file, format, capacity, owned: true);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Opens a file that another process wrote, or this one at an earlier time.</summary>
    /// <returns>Null if it is of another format or damaged.</returns>
    public static DiskSegment? Open(string path, DiskFormat format)
    {
        SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        byte[] header = new byte[HeaderBytes];
        int capacity = ReadAll(file, header, 0) ? BitConverter.ToInt32(header, 12) : 0;
        if (capacity < 1 || capacity > 1 << 20 || !header.AsSpan().SequenceEqual(Header(format, capacity)))
        {
            file.Dispose();
            return null;
        }
        return new DiskSegment(path, file, format, capacity, owned: false);
    }

    /// <summary>Reads on in the table, as far as it is written.</summary>
    /// <returns>Number of blocks that are new.</returns>
    public int Refresh()
    {
        int before = hashes.Count, most = Math.Max(1, (1 << 20) / format.EntryBytes);
        byte[] table = new byte[Math.Min(most, capacity - before) * format.EntryBytes];
        while (hashes.Count < capacity)
        {
            int wanted = Math.Min(most, capacity - hashes.Count), start = hashes.Count;
            int read = RandomAccess.Read(file, table.AsSpan(0, wanted * format.EntryBytes), Entry(start)) / format.EntryBytes;
            for (int i = 0; i < read && IsWhole(table.AsSpan(i * format.EntryBytes, format.EntryBytes), out SegmentEntry found); i++)
                hashes.Add(found.Hash);
            if (hashes.Count < start + wanted)
                break;
        }
        return hashes.Count - before;
    }

    /// <summary>Adds a block.</summary>
    /// <exception cref="IOException">There is no room.</exception>
    public int Add(ulong parent, ulong hash, ReadOnlySpan<int> tokens, ReadOnlySpan<byte> content)
    {
        int slot = hashes.Count;
        RandomAccess.Write(file, content, Content(slot));
        MemoryMarshal.AsBytes(tokens).CopyTo(entry.AsSpan(32));
        MemoryMarshal.Write(entry, new SegmentEntry(0, hash, parent, XxHash3.HashToUInt64(content)));
        MemoryMarshal.Write(entry, XxHash3.HashToUInt64(entry.AsSpan(8), (long)fingerprint));
        RandomAccess.Write(file, entry, Entry(slot));
        hashes.Add(hash);
        return slot;
    }

    /// <summary>Reads a block.</summary>
    /// <returns>False if it is not this one, or damaged.</returns>
    public bool TryRead(int slot, ulong parent, ulong hash, ReadOnlySpan<int> tokens, Span<byte> content) =>
        ReadAll(file, entry, Entry(slot))
        && IsWhole(entry, out SegmentEntry found)
        && found.Hash == hash && found.Parent == parent
        && MemoryMarshal.AsBytes(tokens).SequenceEqual(entry.AsSpan(32))
        && ReadAll(file, content, Content(slot))
        && XxHash3.HashToUInt64(content) == found.Content;

    /// <summary>Counts the file as just used, for whichever process looks for the oldest.</summary>
    public void Touch()
    {
        long now = Environment.TickCount64;
        if (now - touchedAt < 1000)
            return;
        touchedAt = now;
        try
        {
            File.SetLastWriteTimeUtc(file, DateTime.UtcNow);
        }
        catch (UnauthorizedAccessException)
        {
            // Another account's file: it can be read but not be called used.
        }
    }

    /// <summary>Closes the file; gives back the room that was not filled.</summary>
    public void Dispose()
    {
        if (owned && !IsFull && !file.IsClosed)
            RandomAccess.SetLength(file, Content(hashes.Count));
        file.Dispose();
    }

    private static byte[] Header(DiskFormat format, int capacity)
    {
        byte[] header = new byte[HeaderBytes];
        MemoryMarshal.Write(header, Magic);
        MemoryMarshal.Write(header.AsSpan(8), 1); // version
        MemoryMarshal.Write(header.AsSpan(12), capacity);
        MemoryMarshal.Write(header.AsSpan(16), format);
        MemoryMarshal.Write(header.AsSpan(56), XxHash3.HashToUInt64(header.AsSpan(0, 56)));
        return header;
    }

    private static long Contents(DiskFormat format, int capacity) => (HeaderBytes + (long)capacity * format.EntryBytes + Page - 1) / Page * Page;

    private static bool ReadAll(SafeFileHandle file, Span<byte> destination, long offset)
    {
        while (!destination.IsEmpty)
        {
            int read = RandomAccess.Read(file, destination, offset);
            if (read == 0)
                return false;
            destination = destination[read..];
            offset += read;
        }
        return true;
    }

    private bool IsWhole(ReadOnlySpan<byte> bytes, out SegmentEntry found)
    {
        found = MemoryMarshal.Read<SegmentEntry>(bytes);
        return found.Check != 0 && found.Check == XxHash3.HashToUInt64(bytes[8..], (long)fingerprint);
    }

    private long Entry(int slot) => HeaderBytes + (long)slot * format.EntryBytes;

    private long Content(int slot) => Contents(format, capacity) + (long)slot * format.BlockBytes;
}
