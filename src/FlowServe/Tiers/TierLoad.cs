namespace XDeepServe.FlowServe.Tiers;

/// <summary>A block that a load brings.</summary>
/// <param name="Hash">Chain hash of its tokens and all before.</param>
/// <param name="Parent">Chain hash of all before.</param>
/// <param name="Slot">Where it is, or will be, in host memory; -1 while nobody has looked.</param>
/// <param name="OnDisk">Whether it must be read from disk.</param>
internal readonly record struct TierBlock(ulong Hash, ulong Parent, int Slot = -1, bool OnDisk = false);

/// <summary>
/// Blocks on their way into a sequence's blocks, in order of position: some lie in host memory, others are read from disk into
/// slots as these become free. The group's thread gives slots and has copied what is there; the disk's thread reads. Slots are
/// held only from the one that is to be copied next on, so that loads which share few slots never wait for each other.
/// </summary>
internal sealed class TierLoad(HostTier host, Action wake)
{
    private const int BytesPerWake = 256 << 10;
    private TierBlock[] blocks = new TierBlock[64];
    private int bytesRead; // since the group's thread was woken. The disk's thread
    private volatile int given, read;
    private volatile bool failed, reading, cancelled;

    /// <summary>Whose keys and values they are.</summary>
    public Sequence Sequence { get; private set; } = null!;

    /// <summary>Position of the first.</summary>
    public int From { get; private set; }

    /// <summary>Number of blocks.</summary>
    public int Count { get; private set; }

    /// <summary>Blocks that are being, or have been, copied to the device. The group's thread.</summary>
    public int Moving { get; set; }

    /// <summary>Blocks that are on the device. The group's thread.</summary>
    public int Moved { get; set; }

    /// <summary>Blocks that have a slot.</summary>
    public int Given => given;

    /// <summary>Blocks, from the first on, whose content is in host memory.</summary>
    public int Ready => ReadyOf(given);

    /// <summary>Whether no more is wanted.</summary>
    public bool IsCancelled => cancelled;

    /// <summary>Whether something was gone or could not be read.</summary>
    public bool Failed => failed;

    /// <summary>Whether all has ended.</summary>
    public bool IsOver => !reading && Moving == Moved && (cancelled || Moved == Count || (failed && Moved == Ready));

    /// <summary>When it began (<see cref="System.Diagnostics.Stopwatch"/>).</summary>
    public long BeganAt { get; set; }

    /// <summary>Seconds that the disk took. The group's thread, once it is over.</summary>
    public double ReadSeconds { get; private set; }

    /// <summary>Bytes from disk, likewise.</summary>
    public long ReadBytes { get; private set; }

    /// <summary>Seconds of the copies in which its blocks were. The group's thread.</summary>
    public double MoveSeconds { get; set; }

    /// <summary>A block.</summary>
    public TierBlock this[int place] => blocks[place];

    /// <summary>Begins anew.</summary>
    public void Start(Sequence sequence, int from, long now)
    {
        (Sequence, From, Count, Moving, Moved, BeganAt) = (sequence, from, 0, 0, 0, now);
        (ReadSeconds, ReadBytes, MoveSeconds, bytesRead) = (0, 0, 0, 0);
        (given, read) = (0, 0);
        (failed, reading, cancelled) = (false, false, false);
    }

    /// <summary>Adds a block, while it has not begun.</summary>
    public void Add(TierBlock block)
    {
        if (Count == blocks.Length)
            Array.Resize(ref blocks, 2 * Count);
        blocks[Count++] = block;
    }

    /// <summary>Pins the next blocks where they are in host memory, and gives others free slots to be read into, while there are any.</summary>
    /// <param name="fromDisk">Whether there is a disk to read from.</param>
    /// <returns>Whether the disk is to be asked.</returns>
    public bool Give(bool fromDisk)
    {
        int place = given;
        for (; place < Count && !cancelled && !failed; place++)
        {
            TierBlock block = blocks[place];
            int slot = host.Find(block.Parent, block.Hash, Tokens(place));
            bool there = slot >= 0;
            if (there)
                host.Pin(slot);
            else if (!fromDisk)
                failed = true; // evicted since it was found
            if (!there && (!fromDisk || !host.TryTake(out slot)))
                break;
            blocks[place] = block with { Slot = slot, OnDisk = !there };
        }
        given = place; // what stands before it is seen by whoever sees this
        if (reading || cancelled || failed || Ready == place)
            return false;
        return reading = true;
    }

    /// <summary>Asks to stop.</summary>
    public void Cancel() => cancelled = true;

    /// <summary>The next block to read, and where to. The disk's thread.</summary>
    public bool NextRead(out TierBlock block, out ReadOnlySpan<int> tokens, out Span<byte> destination)
    {
        block = default;
        tokens = default;
        destination = default;
        int end = given, place = ReadyOf(end); // of the same ones: meanwhile more are given, and those may need no reading
        if (cancelled || failed || place == end)
        {
            reading = false;
            wake();
            return false;
        }
        block = blocks[place];
        tokens = Tokens(place);
        destination = host.Bytes(block.Slot);
        return true;
    }

    /// <summary>What became of it. The disk's thread.</summary>
    public void EndRead(bool done, double seconds)
    {
        if (!done)
        {
            failed = true;
            return;
        }
        ReadSeconds += seconds;
        ReadBytes += host.BlockBytes;
        read = Ready + 1;
        bytesRead += host.BlockBytes;
        if (bytesRead < BytesPerWake)
            return;
        bytesRead = 0;
        wake();
    }

    /// <summary>A block's tokens.</summary>
    public ReadOnlySpan<int> Tokens(int place) => Sequence.Keys.Slice(From + place * host.BlockSize, host.BlockSize);

    private int ReadyOf(int end)
    {
        int ready = Math.Min(read, end);
        while (ready < end && !blocks[ready].OnDisk)
            ready++;
        return ready;
    }
}
