using System.Diagnostics;

namespace XDeepServe.FlowServe.Tiers;

/// <summary>
/// Copies between the device's blocks and host slots that the executor's thread does between two steps: first loads, then
/// saves. One is made per DP group, and used again.
/// </summary>
internal sealed class TierMove
{
    /// <summary>Most blocks of a move.</summary>
    public const int Most = 512;

    private readonly HostTier host;
    private readonly (int Block, int Slot)[] items = new (int, int)[Most];
    private readonly (ulong Hash, ulong Parent)[] keys = new (ulong, ulong)[Most]; // of saves
    private readonly TierLoad?[] loads = new TierLoad?[Most];                      // null: a save
    private readonly bool[] spoilt = new bool[Most];                               // saves that may have come too late
    private readonly int[] tokens;                                                 // [Most, block size] of saves
    private volatile bool done;

    /// <summary>An empty move.</summary>
    /// <param name="host">Where the slots are.</param>
    /// <param name="port">Carries blocks; null where only counts matter.</param>
    /// <param name="wake">Called when it is done.</param>
    public TierMove(HostTier host, KvPort? port, Action wake)
    {
        this.host = host;
        tokens = new int[Most * host.BlockSize];
        Job = () => Run(port, wake);
    }

    /// <summary>Does it. The executor's thread.</summary>
    public Action Job { get; }

    /// <summary>Whether it was handed over and not taken back.</summary>
    public bool IsAway { get; private set; }

    /// <summary>Whether it was done.</summary>
    public bool IsDone => done;

    /// <summary>Number of copies.</summary>
    public int Count { get; private set; }

    /// <summary>How long they took.</summary>
    public double Seconds { get; private set; }

    /// <summary>Why they were not all done; null if they were.</summary>
    public Exception? Failure { get; private set; }

    /// <summary>The sequence's load that a copy belongs to; null for a save.</summary>
    public TierLoad? Load(int item) => loads[item];

    /// <summary>A copy's device block and slot.</summary>
    public (int Block, int Slot) Item(int item) => items[item];

    /// <summary>Hash of a saved block and of what stands before it.</summary>
    public (ulong Hash, ulong Parent) Key(int item) => keys[item];

    /// <summary>A saved block's tokens.</summary>
    public ReadOnlySpan<int> Tokens(int item) => tokens.AsSpan(item * host.BlockSize, host.BlockSize);

    /// <summary>Adds a copy to the device.</summary>
    public void AddLoad(TierLoad load, int block, int slot)
    {
        (items[Count], loads[Count]) = ((block, slot), load);
        Count++;
    }

    /// <summary>Adds a copy to host memory.</summary>
    public void AddSave(int block, int slot, ulong hash, ulong parent, ReadOnlySpan<int> content)
    {
        (items[Count], loads[Count], keys[Count]) = ((block, slot), null, (hash, parent));
        content.CopyTo(tokens.AsSpan(Count * host.BlockSize));
        Count++;
    }

    /// <summary>A save's block may have new content before it was copied.</summary>
    /// <returns>True.</returns>
    public bool Spoil(int item) => spoilt[item] = true;

    /// <summary>Whether a save is not to be used.</summary>
    public bool IsSpoilt(int item) => spoilt[item];

    /// <summary>Is on its way to the executor.</summary>
    public void Leave() => (IsAway, done, Failure) = (true, false, null);

    /// <summary>Was taken back and is empty.</summary>
    public void Return()
    {
        Array.Clear(loads, 0, Count);
        Array.Clear(spoilt, 0, Count);
        (IsAway, Count) = (false, 0);
    }

    private void Run(KvPort? port, Action wake)
    {
        long start = Stopwatch.GetTimestamp();
        try
        {
            for (int i = 0; i < Count && port is not null; i++)
            {
                (int block, int slot) = items[i];
                if (loads[i] is null)
                    port.Read([block], 0, port.BlockSize, host.Bytes(slot));
                else
                    port.Write([block], 0, port.BlockSize, host.Bytes(slot));
            }
        }
#pragma warning disable CA1031 // Whatever stopped it, the group's thread says so and serves without tiers.
        catch (Exception failure)
#pragma warning restore CA1031
        {
            Failure = failure;
        }
        Seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        done = true;
        wake();
    }
}
