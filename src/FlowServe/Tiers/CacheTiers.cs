using System.Collections.Concurrent;
using System.Diagnostics;
using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.FlowServe.Tiers;

/// <summary>
/// The tiers behind one DP group's device cache (the paper's RTC, §4.3 of DeepServe): host memory, then disk. Full blocks are
/// copied to host memory soon after they were computed, a little between any two steps, so that evicting them from the
/// device costs nothing; what host memory evicts is written to disk. As an <see cref="IKvSupply"/> it brings blocks back where
/// that is predicted to be faster than computing them. The group's thread alone calls it; it never waits.
/// </summary>
internal sealed class CacheTiers : IKvSupply, IDiskClient, IDisposable
{
    private const double BusyShare = .1, IdleSeconds = 2e-3;
    private const int MostOnDisk = 1 << 16;
    private readonly DiskTier? disk;
    private readonly TierSearch search;
    private readonly Action<Action> post;
    private readonly Action<string>? complain;
    private readonly SaveQueue saves;
    private readonly TierMove move;
    private readonly Action wake;
    private readonly List<TierLoad> loads = [];
    private readonly Stack<TierLoad> spare = new();
    private readonly Queue<(Sequence Sequence, int Computed)> ended = new();
    private readonly ConcurrentQueue<(int Slot, bool Done)> written = new();
    private readonly int reserve; // slots kept free, or on their way to disk
    private int leaving, generation, moveGeneration;
    private bool closed;

    /// <summary>Empty tiers.</summary>
    /// <param name="host">Host memory; the group's alone.</param>
    /// <param name="disk">Disk, or null for none; belongs to the tiers from here on.</param>
    /// <param name="deviceBlocks">Blocks of the device's cache.</param>
    /// <param name="stepTokens">Most tokens of a step.</param>
    /// <param name="options">Settings.</param>
    /// <param name="port">Carries blocks; null where only counts matter.</param>
    /// <param name="post">Has the executor's thread do something between steps.</param>
    /// <param name="wake">Has the group's thread take a turn. Any thread.</param>
    /// <param name="prefill">Learns what computing costs; stays the group's.</param>
    public CacheTiers(HostTier host, DiskTier? disk, int deviceBlocks, int stepTokens, TierOptions options, KvPort? port, Action<Action> post, Action wake, PrefillCostModel prefill)
    {
        (Host, this.disk, this.post, this.wake, complain) = (host, disk, post, wake, options.Complain);
        Cost = new TierCostModel(stepTokens, prefill);
        search = new TierSearch(host, disk, options.AlwaysLoad ? null : Cost, Metrics);
        saves = new SaveQueue(deviceBlocks);
        move = new TierMove(host, port, wake);
        reserve = disk is null ? 0 : Math.Clamp(host.Slots / 8, 1, 256);
    }

    /// <summary>Takes memory and opens the folder, as the settings say.</summary>
    /// <exception cref="ArgumentException">Too little room; says what to do.</exception>
    public static CacheTiers Open(TierOptions options, EngineOptions engine, int deviceBlocks, Executor executor, Action wake, PrefillCostModel prefill)
    {
        KvPort port = executor.Port;
        int blockBytes = port.BytesPerPosition * port.BlockSize;
        long bytes = options.HostBytes > 0 ? options.HostBytes : TierOptions.LeastHostBytes;
        HostTier host = new(bytes, blockBytes, port.BlockSize);
        DiskTier? disk = options.Folder is { } folder
            ? new DiskTier(folder, options.FolderBytes, new DiskFormat(options.Model, port.Fingerprint, port.BlockSize, blockBytes), options.Complain)
            : null;
        return new CacheTiers(host, disk, deviceBlocks, engine.MaxBatchedTokens, options, port, executor.Post, wake, prefill);
    }

    /// <inheritdoc/>
    public HostTier Host { get; }

    /// <summary>Disk; null if there is none.</summary>
    public DiskTier? Disk => disk;

    /// <summary>Blocks that can be kept track of: all that host memory has room for, and of those on disk as many as make a table of a few megabytes.</summary>
    public int Blocks => Host.Slots + (disk is null ? 0 : MostOnDisk);

    /// <summary>What it has learned of speeds.</summary>
    public TierCostModel Cost { get; }

    /// <summary>What it has done.</summary>
    public TierMetrics Metrics { get; } = new();

    /// <summary>Whether nothing is under way or waits to be.</summary>
    public bool IsIdle => loads.Count == 0 && ended.Count == 0 && !move.IsAway && saves.Count == 0 && leaving == 0;

    /// <summary>A device block is full, and the prefix index knows it.</summary>
    public void Committed(int block, ulong hash, ulong parent)
    {
        if (!closed)
            saves.Add(block, hash, parent);
    }

    /// <summary>A device block's content goes. A save of it that is under way may come too late: it does not count.</summary>
    public void Evicted(int block)
    {
        bool lost = saves.Remove(block);
        for (int i = 0; i < move.Count && move.IsAway; i++)
            lost |= move.Load(i) is null && move.Item(i).Block == block && move.Spoil(i);
        Metrics.Dropped += lost ? 1 : 0;
    }

    /// <summary>Whether a block is here, as far as can be told by its hash.</summary>
    public bool Holds(ulong hash) => !closed && (Host.Contains(hash) || disk?.Contains(hash) == true);

    /// <summary>A sequence found its first blocks on the device: their copies count as used too.</summary>
    public void Used(Sequence sequence) => search.Touch(sequence);

    /// <summary>Forgets all blocks, on disk too.</summary>
    public void Reset()
    {
        generation++;
        saves.Clear();
        while (Host.TryOldest(out int slot))
            Host.Forget(slot, pinned: false);
        disk?.Forget();
    }

    /// <summary>Takes back what is done, and has the next copies made.</summary>
    /// <param name="device">The device's index.</param>
    /// <param name="busy">Whether steps are run, which copies delay.</param>
    public void Turn(RadixIndex device, bool busy)
    {
        Collect();
        MakeRoom();
        foreach (TierLoad load in loads)
            if (load.Give(fromDisk: disk is not null))
                disk!.Read(load);
        if (move.IsAway || closed)
            return;
        double seconds = busy ? BusyShare * Cost.Step : IdleSeconds;
        int most = (int)Math.Clamp(seconds * Cost.HostRate / Host.BlockBytes, 1, TierMove.Most);
        AddLoads(most);
        AddSaves(device, most);
        if (move.Count == 0)
            return;
        moveGeneration = generation;
        move.Leave();
        post(move.Job);
    }

    /// <summary>Brings what only the device and host memory hold to disk, as far as time allows. The executor still runs.</summary>
    public void Flush(RadixIndex device, TimeSpan patience)
    {
        long start = Stopwatch.GetTimestamp();
        bool Late() => Stopwatch.GetElapsedTime(start) > patience;
        while (!closed && disk is { IsOpen: true } && (saves.Count > 0 || move.IsAway) && !Late())
        {
            Turn(device, busy: false);
            Thread.Sleep(1);
        }
        while (!closed && disk is { IsOpen: true } && !Late())
        {
            Collect();
            bool any = Host.TryNewest(out int slot); // prefixes before what stands on them, should time run out
            if (!any && leaving == 0)
                break;
            if (!any || !TryEvict(slot))
                Thread.Sleep(1);
        }
        // Whoever fills or reads slots must have stopped before they go.
        if (!SpinWait.SpinUntil(() => { Collect(); return leaving == 0 && !move.IsAway; }, TimeSpan.FromSeconds(10)))
            throw new TimeoutException($"The disk tier did not write {leaving} blocks within 10 s.");
    }

    /// <inheritdoc/>
    public int Reach(Sequence sequence, int from) => closed ? from : search.Reach(sequence, from);

    /// <inheritdoc/>
    public void Begin(Sequence sequence, int from, int to)
    {
        TierLoad load = spare.TryPop(out TierLoad? used) ? used : new TierLoad(Host, wake);
        load.Start(sequence, from, Stopwatch.GetTimestamp());
        search.Add(load, sequence, from, to);
        loads.Add(load);
        if (load.Give(fromDisk: disk is not null))
            disk!.Read(load);
        wake();
    }

    /// <inheritdoc/>
    public void Cancel(Sequence sequence)
    {
        foreach (TierLoad load in loads)
            if (load.Sequence == sequence)
                load.Cancel();
    }

    /// <inheritdoc/>
    public void Drop(Sequence sequence)
    {
    }

    /// <inheritdoc/>
    public bool TryComplete(out Sequence sequence, out int computed)
    {
        Collect();
        bool any = ended.TryDequeue(out (Sequence Sequence, int Computed) first);
        (sequence, computed) = first;
        return any;
    }

    /// <inheritdoc/>
    public void Written(int slot, bool done)
    {
        written.Enqueue((slot, done));
        wake();
    }

    /// <summary>Closes the folder. After <see cref="Flush"/>.</summary>
    public void Dispose() => disk?.Dispose();

    private void Collect()
    {
        while (written.TryDequeue(out (int Slot, bool Done) write))
        {
            leaving--;
            Metrics.WrittenBytes += write.Done ? Host.BlockBytes : 0;
            Metrics.Dropped += write.Done ? 0 : 1;
            Host.Forget(write.Slot, pinned: true);
        }
        if (move is { IsAway: true, IsDone: true })
            TakeBack();
        for (int i = loads.Count - 1; i >= 0; i--)
            if (loads[i].IsOver)
                End(i);
        Metrics.HostUsage = (double)Host.Count / Host.Slots;
        Metrics.DiskUsage = disk is null ? 0 : (double)disk.UsedBytes / disk.Limit;
    }

    private void TakeBack()
    {
        long saved = 0, loaded = 0;
        for (int i = 0; i < move.Count; i++)
        {
            (_, int slot) = move.Item(i);
            if (move.Load(i) is { } load)
            {
                if (move.Failure is null)
                    Release(load, load.Moved++); // in order; the slot may be wanted for the next ones
                load.MoveSeconds += move.Seconds / move.Count;
                loaded++;
            }
            else if (move.Failure is null && moveGeneration == generation && !move.IsSpoilt(i))
            {
                (ulong hash, ulong parent) = move.Key(i);
                Host.Keep(slot, parent, hash, move.Tokens(i));
                saved++;
            }
            else
            {
                Host.GiveBack(slot);
            }
        }
        if (move.Failure is null)
        {
            Cost.ObserveHost((long)move.Count * Host.BlockBytes, move.Seconds);
            Metrics.SavedBytes += saved * Host.BlockBytes;
            Metrics.LoadedBytes += loaded * Host.BlockBytes;
            Metrics.MoveSeconds += move.Seconds;
        }
        else
        {
            closed = true;
            complain?.Invoke($"The cache's tiers are out of use until the next start: {move.Failure.Message}");
            foreach (TierLoad load in loads)
            {
                load.Cancel();
                load.Moving = load.Moved;
            }
        }
        move.Return();
    }

    private void End(int place)
    {
        TierLoad load = loads[place];
        loads.RemoveAt(place);
        for (int i = load.Given - 1; i >= load.Moved; i--)
            Release(load, i);
        for (int i = 0; i < load.Moved && !load.Sequence.Finished; i++)
        {
            Metrics.HostHits += load[i].OnDisk ? 0 : Host.BlockSize;
            Metrics.DiskHits += load[i].OnDisk ? Host.BlockSize : 0;
        }
        Metrics.ReadBytes += load.ReadBytes;
        Metrics.Failed += load.Failed ? 1 : 0;
        Cost.ObserveDisk(load.ReadBytes, load.ReadSeconds);
        if (load.Moved == load.Count)
            Cost.ObserveWait(Stopwatch.GetElapsedTime(load.BeganAt).TotalSeconds - load.ReadSeconds - load.MoveSeconds);
        ended.Enqueue((load.Sequence, load.From + load.Moved * Host.BlockSize));
        spare.Push(load);
    }

    /// <summary>Ends what a load has of a block's slot: what was read is kept.</summary>
    private void Release(TierLoad load, int place)
    {
        TierBlock block = load[place];
        if (!block.OnDisk)
            Host.Unpin(block.Slot);
        else if (place < load.Ready)
            Host.Keep(block.Slot, block.Parent, block.Hash, load.Tokens(place));
        else
            Host.GiveBack(block.Slot);
    }

    /// <summary>Adds copies to the device. No step that was launched before a sequence got its blocks runs any more: a turn has passed.</summary>
    private void AddLoads(int most)
    {
        foreach (TierLoad load in loads)
        {
            for (int ready = load.Ready; load.Moving < ready && !load.IsCancelled && move.Count < most; load.Moving++)
                move.AddLoad(load, load.Sequence.Blocks[load.From / Host.BlockSize + load.Moving], load[load.Moving].Slot);
        }
    }

    /// <summary>Adds copies to host memory.</summary>
    private void AddSaves(RadixIndex device, int most)
    {
        while (move.Count < most && saves.TryPeek(out int block, out ulong hash, out ulong parent))
        {
            ReadOnlySpan<int> tokens = device.Tokens(block);
            bool known = Host.Find(parent, hash, tokens) is >= 0 || disk?.Contains(hash) == true;
            int slot = -1;
            if (!known && !TryTake(out slot))
                return;
            saves.Take();
            if (!known)
                move.AddSave(block, slot, hash, parent, tokens);
        }
    }

    private bool TryTake(out int slot)
    {
        if (disk is null && Host.Free == 0 && Host.TryOldest(out int oldest))
            Host.Forget(oldest, pinned: false);
        return Host.TryTake(out slot);
    }

    /// <summary>Keeps some slots free, by writing the longest unused blocks to disk.</summary>
    private void MakeRoom()
    {
        while (Host.Free + leaving < reserve && Host.TryOldest(out int slot))
        {
            if (TryEvict(slot))
                continue;
            Metrics.Dropped++;
            Host.Forget(slot, pinned: false);
        }
    }

    /// <summary>Has an unused block written to disk, or forgets it if it is there.</summary>
    private bool TryEvict(int slot)
    {
        if (disk!.Contains(Host.Key(slot).Hash))
        {
            Host.Forget(slot, pinned: false);
            return true;
        }
        if (!disk.TryWrite(this, slot))
            return false;
        Host.Pin(slot);
        leaving++;
        return true;
    }
}
