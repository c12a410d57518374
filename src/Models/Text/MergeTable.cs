using System.Numerics;

namespace XDeepServe.Models.Text;

/// <summary>The merges of a byte-pair model: a pair of token ids to its rank and the token it becomes.</summary>
internal sealed class MergeTable
{
    /// <summary>What <see cref="Find"/> answers for a pair that does not merge; greater than every entry.</summary>
    public const ulong None = ulong.MaxValue;

    private ulong[] keys;     // left << 32 | right; open addressing
    private ulong[] entries;  // rank << 32 | merged id; None: empty slot
    private int count;

    /// <summary>Makes an empty table.</summary>
    /// <param name="capacity">How many merges are expected.</param>
    public MergeTable(int capacity)
    {
        var size = BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, capacity * 2));
        keys = new ulong[size];
        entries = new ulong[size];
        Array.Fill(entries, None);
    }

    /// <summary>Stores a merge; a later one of the same pair replaces the earlier.</summary>
    public void Add(int left, int right, int rank, int merged)
    {
        if (++count * 2 > keys.Length)
            Rehash();
        Insert(Key(left, right), ((ulong)(uint)rank << 32) | (uint)merged);
    }

    /// <summary>The merge of a pair as <c>rank &lt;&lt; 32 | merged id</c>, so that the smaller goes first, or <see cref="None"/>.</summary>
    public ulong Find(int left, int right)
    {
        var key = Key(left, right);
        var mask = keys.Length - 1;
        for (var slot = Slot(key) & mask; entries[slot] != None; slot = (slot + 1) & mask)
            if (keys[slot] == key)
                return entries[slot];
        return None;
    }

    /// <summary>All pairs and what they become, lowest rank first.</summary>
    public IEnumerable<(int Left, int Right, int Merged)> InOrder() =>
        Enumerable.Range(0, keys.Length).Where(slot => entries[slot] != None).OrderBy(slot => entries[slot])
            .Select(slot => ((int)(keys[slot] >> 32), (int)(uint)keys[slot], (int)(uint)entries[slot]));

    /// <summary>What the pairs become, in no order.</summary>
    public IEnumerable<int> Results() => entries.Where(entry => entry != None).Select(entry => (int)(uint)entry);

    private static ulong Key(int left, int right) => ((ulong)(uint)left << 32) | (uint)right;

    private static int Slot(ulong key) => (int)((key * 0x9E3779B97F4A7C15) >> 33);

    private void Insert(ulong key, ulong entry)
    {
        var mask = keys.Length - 1;
        var slot = Slot(key) & mask;
        while (entries[slot] != None && keys[slot] != key)
            slot = (slot + 1) & mask;
        keys[slot] = key;
        entries[slot] = entry;
    }

    private void Rehash()
    {
        var (oldKeys, oldEntries) = (keys, entries);
        keys = new ulong[oldKeys.Length * 2];
        entries = new ulong[keys.Length];
        Array.Fill(entries, None);
        for (var i = 0; i < oldKeys.Length; i++)
            if (oldEntries[i] != None)
                Insert(oldKeys[i], oldEntries[i]);
    }
}
