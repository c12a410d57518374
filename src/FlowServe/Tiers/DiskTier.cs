using System.Collections.Concurrent;
using System.Diagnostics;

namespace XDeepServe.FlowServe.Tiers;

/// <summary>Has a block written, or a load's blocks read, by the disk's thread.</summary>
internal interface IDiskClient
{
    /// <summary>A block that is to be written; its slot stays as it is until <see cref="Written"/>.</summary>
    HostTier Host { get; }

    /// <summary>The disk no longer needs the slot. The disk's thread.</summary>
    void Written(int slot, bool done);
}

/// <summary>
/// Cache blocks in a folder, in files of which each process adds its own (<see cref="DiskSegment"/>). All files together take no
/// more than the bound (for a moment one file more, where processes make theirs at once): the longest unused goes first. Outlives
/// the process: what is there is found again by reading the files' tables. A thread of its own touches files; whoever asks never
/// waits, and when too much waits to be written, more is refused. Trouble ends the tier, not the service.
/// </summary>
public sealed class DiskTier : IDisposable
{
    private const int MostWrites = 256, FilesAtLeast = 8;
    private const long MostFileBytes = 256 << 20;
    private static readonly TimeSpan s_refreshInterval = TimeSpan.FromSeconds(5);
    private readonly string folder;
    private readonly long limit;
    private readonly DiskFormat format;
    private readonly int capacity;
    private readonly Action<string>? complain;
    private readonly ConcurrentDictionary<ulong, (DiskSegment Segment, int Slot)> index = new();
    private readonly ConcurrentQueue<(IDiskClient Client, int Slot)> writes = new();
    private readonly ConcurrentQueue<TierLoad> reads = new();
    private readonly Dictionary<string, DiskSegment?> segments = []; // by path; null: not ours to read. The thread's
    private readonly SemaphoreSlim bell = new(0);
    private readonly ManualResetEventSlim scanned = new();
    private readonly Thread thread;
    private DiskSegment? filling; // the thread's
    private long refreshedAt, usedBytes;
    private int waiting;
    private volatile bool stopped, closed, forgetting;

    /// <summary>Opens a folder, and makes it if need be; files are looked at in the background.</summary>
    /// <param name="folder">Where.</param>
    /// <param name="limit">Most bytes of all cache files in it.</param>
    /// <param name="format">What the blocks are.</param>
    /// <param name="complain">Told why the tier went out of use.</param>
    /// <exception cref="ArgumentException">Too little room for even a few blocks; says what to do.</exception>
    public DiskTier(string folder, long limit, DiskFormat format, Action<string>? complain = null)
    {
        (this.folder, this.limit, this.format, this.complain) = (Path.GetFullPath(folder), limit, format, complain); // as files are named that are found in it
        capacity = DiskSegment.CapacityFor(format, Math.Min(limit / FilesAtLeast, MostFileBytes));
        if (capacity < 1)
            capacity = DiskSegment.CapacityFor(format, limit / 2);
        if (capacity < 1)
            throw new ArgumentException($"{limit} bytes of disk hold no cache blocks of {format.BlockBytes}; give --disk-cache-size more.");
        thread = new Thread(Loop) { IsBackground = true, Name = "disk-tier" };
        thread.Start();
    }

    /// <summary>Whether it is in use.</summary>
    public bool IsOpen => !closed;

    /// <summary>Blocks that can be found.</summary>
    public int Count => index.Count;

    /// <summary>Bytes of all cache files, when they were last looked at.</summary>
    public long UsedBytes => Volatile.Read(ref usedBytes);

    /// <summary>Most bytes of them.</summary>
    public long Limit => limit;

    /// <summary>Whether a block is there, as far as is known without looking. Any thread.</summary>
    public bool Contains(ulong hash) => index.ContainsKey(hash);

    /// <summary>Waits until the files that were there at the start have been looked at.</summary>
    public bool WaitForScan(TimeSpan patience) => scanned.Wait(patience);

    /// <summary>Forgets and removes all blocks of this format, in the background. Any thread.</summary>
    public void Forget()
    {
        forgetting = true;
        index.Clear();
        bell.Release();
    }

    /// <summary>Has a slot's block written. Any thread.</summary>
    /// <returns>False if the tier is out of use or behind: the block stays the caller's.</returns>
    internal bool TryWrite(IDiskClient client, int slot)
    {
        if (closed || stopped)
            return false;
        if (Interlocked.Increment(ref waiting) > MostWrites)
        {
            Interlocked.Decrement(ref waiting);
            return false;
        }
        writes.Enqueue((client, slot));
        bell.Release();
        return true;
    }

    /// <summary>Has blocks read into a load's slots. Any thread.</summary>
    internal void Read(TierLoad load)
    {
        reads.Enqueue(load);
        bell.Release();
    }

    /// <summary>Writes what waits and closes the files.</summary>
    public void Dispose()
    {
        stopped = true;
        bell.Release();
        thread.Join();
        bell.Dispose();
        scanned.Dispose();
    }

    private void Loop()
    {
        Try(Refresh);
        scanned.Set();
        while (true)
        {
            bell.Wait(s_refreshInterval);
            if (forgetting)
                Try(Remove);
            while (true)
            {
                if (reads.TryDequeue(out TierLoad? load))
                    Serve(load);
                else if (writes.TryDequeue(out (IDiskClient Client, int Slot) write))
                    Serve(write.Client, write.Slot);
                else
                    break;
            }
            if (stopped)
                break;
            if (!closed && Stopwatch.GetElapsedTime(refreshedAt) >= s_refreshInterval)
                Try(Refresh);
        }
        foreach (DiskSegment? segment in segments.Values)
            Try(() => segment?.Dispose());
    }

    private void Serve(IDiskClient client, int slot)
    {
        Interlocked.Decrement(ref waiting);
        bool done = false;
        if (!closed)
            Try(() => done = Write(client.Host, slot));
        client.Written(slot, done);
    }

    private bool Write(HostTier host, int slot)
    {
        (ulong hash, ulong parent) = host.Key(slot);
        if (index.ContainsKey(hash))
            return true;
        if (filling is null || filling.IsFull || !File.Exists(filling.Path)) // another process may have needed the room
            Begin();
        filling!.Touch();
        int place = filling.Add(parent, hash, host.Tokens(slot), host.Bytes(slot));
        index[hash] = (filling, place);
        return true;
    }

    private void Begin()
    {
        long length = DiskSegment.Length(format, capacity);
        Trim(limit - length, null);
        string path = Path.Combine(folder, $"{format.Prefix}{Guid.NewGuid():N}{DiskFormat.Extension}");
        filling = DiskSegment.Create(path, format, capacity);
        segments[path] = filling;
        Trim(limit, path);
    }

    /// <summary>Removes the longest unused files until the rest takes no more than some bytes.</summary>
    private void Trim(long most, string? spared)
    {
        FileInfo[] files = [.. Files().OrderBy(file => file.LastWriteTimeUtc)];
        long total = files.Sum(file => file.Length);
        foreach (FileInfo file in files)
        {
            if (total <= most)
                break;
            if (file.FullName == spared)
                continue;
            total -= file.Length;
            file.Delete();
            Drop(file.FullName);
        }
        Volatile.Write(ref usedBytes, total);
    }

    /// <summary>All cache files but those that another process is just removing; asking whether one exists notes its length and time.</summary>
    private FileInfo[] Files() => [.. Directory.GetFiles(folder, "*" + DiskFormat.Extension).Select(path => new FileInfo(path)).Where(file => file.Exists)];

    /// <summary>Finds what other processes, or this one in its last life, have added and removed.</summary>
    private void Refresh()
    {
        refreshedAt = Stopwatch.GetTimestamp();
        Directory.CreateDirectory(folder);
        FileInfo[] files = Files();
        Volatile.Write(ref usedBytes, files.Sum(file => file.Length));
        HashSet<string> there = [.. files.Select(file => file.FullName)];
        foreach (string gone in segments.Keys.Where(path => !there.Contains(path)).ToArray())
            Drop(gone);
        foreach (FileInfo file in files)
        {
            if (!file.Name.StartsWith(format.Prefix, StringComparison.Ordinal))
                continue;
            if (!segments.TryGetValue(file.FullName, out DiskSegment? segment))
                segments[file.FullName] = segment = Open(file.FullName);
            if (segment is null || segment.IsOwned)
                continue;
            int first = segment.Hashes.Count;
            segment.Refresh();
            for (int slot = first; slot < segment.Hashes.Count; slot++)
                index.TryAdd(segment.Hashes[slot], (segment, slot));
        }
        if (files.Sum(file => file.Length) > limit)
            Trim(limit, filling?.Path);
    }

    private DiskSegment? Open(string path)
    {
        try
        {
            return DiskSegment.Open(path, format);
        }
        catch (FileNotFoundException)
        {
            return null; // removed just now
        }
    }

    private void Drop(string path)
    {
        if (!segments.Remove(path, out DiskSegment? segment) || segment is null)
            return;
        foreach (ulong hash in segment.Hashes)
            if (index.TryGetValue(hash, out (DiskSegment Segment, int Slot) place) && place.Segment == segment)
                index.TryRemove(hash, out _);
        if (segment == filling)
            filling = null;
        segment.Dispose();
    }

    private void Remove()
    {
        forgetting = false;
        while (writes.TryDequeue(out (IDiskClient Client, int Slot) write))
        {
            Interlocked.Decrement(ref waiting);
            write.Client.Written(write.Slot, done: false);
        }
        foreach (FileInfo file in Files().Where(file => file.Name.StartsWith(format.Prefix, StringComparison.Ordinal)))
        {
            file.Delete();
            Drop(file.FullName);
        }
        index.Clear();
    }

    private void Serve(TierLoad load)
    {
        while (load.NextRead(out TierBlock block, out ReadOnlySpan<int> tokens, out Span<byte> destination))
        {
            bool read = false;
            long start = Stopwatch.GetTimestamp();
            if (!closed && index.TryGetValue(block.Hash, out (DiskSegment Segment, int Slot) place))
            {
                try
                {
                    read = place.Segment.TryRead(place.Slot, block.Parent, block.Hash, tokens, destination);
                    if (read)
                        place.Segment.Touch();
                }
                catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
                {
                    complain?.Invoke($"A cache file cannot be read and is left alone: {failure.Message}");
                }
                if (!read)
                    index.TryRemove(block.Hash, out _);
            }
            load.EndRead(read, Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
    }

    /// <summary>Does something with files; if that fails the tier is closed.</summary>
    private void Try(Action action)
    {
        try
        {
            action();
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            if (!closed)
                complain?.Invoke($"The disk cache in {folder} is out of use until the next start: {failure.Message}");
            closed = true;
            index.Clear();
        }
    }
}
