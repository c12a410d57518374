using System.Runtime.CompilerServices;

namespace XDeepServe.Kernels.Cuda;

/// <summary>
/// Small uploads on their way: copied into pinned memory at once and brought to their places by one launch before the next
/// operation. The pinned ring has two halves; a half is used again when the GPU has read it.
/// </summary>
internal sealed unsafe class Transfers : IDisposable
{
    /// <summary>Uploads up to this length are gathered.</summary>
    public const int MostBytes = 1 << 16;

    private const int Half = 1 << 21, DownBytes = 1 << 20, LaterBytes = 1 << 16;
    private readonly Driver driver;
    private readonly nint stream;
    private readonly nint ring, down, later;
    private readonly nint[] ended, arrived;
    private readonly bool[] used = new bool[2];
    private Segments segments;
    private int half, at;
    private long begun, taken; // downloads that nobody waits for yet

    /// <summary>Takes pinned memory.</summary>
    public Transfers(Driver driver, nint stream)
    {
        (this.driver, this.stream) = (driver, stream);
        ring = driver.AllocateHost(2 * Half);
        down = driver.AllocateHost(DownBytes);
        later = driver.AllocateHost(2 * LaterBytes);
        ended = [driver.CreateEvent(), driver.CreateEvent()];
        arrived = [driver.CreateEvent(), driver.CreateEvent()];
    }

    /// <summary>Uploads that wait.</summary>
    public int Count { get; private set; }

    /// <summary>Takes an upload in; false if the waiting ones must go first.</summary>
    public bool TryAdd(nint to, void* from, int bytes)
    {
        if (Count == Segments.Length || at + bytes > Half)
            return false;
        for (int i = 0; i < Count; i++)
            if (to < segments[i].To + segments[i].Bytes && segments[i].To < to + bytes)
                return false;
        if (at == 0 && used[half])
            driver.Await(ended[half], "waiting for earlier uploads");
        nint place = ring + half * Half + at;
        Unsafe.CopyBlockUnaligned((void*)place, from, (uint)bytes);
        segments[Count++] = new Segment(to, place, bytes, 0);
        at += (bytes + 15) & ~15;
        return true;
    }

    /// <summary>Hands the waiting uploads over; the caller launches them.</summary>
    public ScatterArguments Take()
    {
        ScatterArguments arguments = new() { Segments = segments, Count = Count };
        Count = 0;
        return arguments;
    }

    /// <summary>After the launch: goes on in the other half if this one is nearly full.</summary>
    public void Launched()
    {
        if (at <= Half - Segments.Length * MostBytes)
            return;
        driver.Record(ended[half], stream);
        used[half] = true;
        (half, at) = (1 - half, 0);
    }

    /// <summary>Copies to the host after all earlier work, and waits.</summary>
    public void Down(void* to, nint from, long bytes)
    {
        if (bytes > DownBytes)
        {
            driver.CopyDown(to, from, bytes, stream);
            driver.Synchronize(stream, "an operation before a download");
            return;
        }
        driver.CopyDown((void*)down, from, bytes, stream);
        driver.Synchronize(stream, "an operation before a download");
        Unsafe.CopyBlockUnaligned(to, (void*)down, (uint)bytes);
    }

    /// <summary>Copies to pinned memory after all earlier work, and does not wait; false where two are under way, or for more than it takes.</summary>
    public bool TryBegin(nint from, long bytes)
    {
        if (bytes > LaterBytes || begun - taken == arrived.Length)
            return false;
        int turn = (int)(begun % arrived.Length);
        driver.CopyDown((void*)(later + turn * LaterBytes), from, bytes, stream);
        driver.Record(arrived[turn], stream);
        begun++;
        return true;
    }

    /// <summary>Whether the oldest of <see cref="TryBegin"/> has come.</summary>
    public bool IsHere => !driver.Pending(arrived[taken % arrived.Length]);

    /// <summary>Waits for the oldest of <see cref="TryBegin"/> and hands it out.</summary>
    public void End(void* to, long bytes)
    {
        if (begun == taken)
            throw new InvalidOperationException("No download was begun.");
        int turn = (int)(taken++ % arrived.Length);
        driver.Await(arrived[turn], "an operation before a download");
        Unsafe.CopyBlockUnaligned(to, (void*)(later + turn * LaterBytes), (uint)bytes);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        driver.FreeHost(ring);
        driver.FreeHost(down);
        driver.FreeHost(later);
        foreach (nint recorded in (nint[])[.. ended, .. arrived])
            driver.DestroyEvent(recorded);
    }
}

/// <summary>A piece of pinned memory and where it goes.</summary>
internal readonly record struct Segment(nint To, nint From, int Bytes, int Unused);

/// <summary>The pieces of one launch.</summary>
[InlineArray(Length)]
internal struct Segments
{
    public const int Length = 32;
    private Segment first;
}

/// <summary>What the scatter kernel takes.</summary>
internal struct ScatterArguments
{
    public Segments Segments;
    public int Count;
}
