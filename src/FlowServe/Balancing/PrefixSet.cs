namespace XDeepServe.FlowServe.Balancing;

/// <summary>
/// The beginnings that one DP group's cache holds, by their <see cref="PrefixChain"/> names: open addressing over plain words. The
/// group's thread writes; any thread reads, without a lock, and may miss a name that is being moved: good for routing, not for
/// more. Allocates nothing after its construction.
/// </summary>
public sealed class PrefixSet
{
    private ulong[] names = []; // 0: free
    private ulong mask;
    private int count;
    private long changes;

    /// <summary>An empty set.</summary>
    /// <param name="capacity">Most names.</param>
    public PrefixSet(int capacity) => Reserve(capacity);

    /// <summary>Names in the set.</summary>
    public int Count => Volatile.Read(ref count);

    /// <summary>Counts changes: equal numbers, equal content.</summary>
    public long Changes => Volatile.Read(ref changes);

    /// <summary>Whether a name is in the set.</summary>
    public bool Contains(ulong name)
    {
        for (ulong place = Spread(name), looked = 0; looked <= mask; place = (place + 1) & mask, looked++)
        {
            ulong found = Volatile.Read(ref names[place]);
            if (found == 0)
                return false;
            if (found == name)
                return true;
        }
        return false;
    }

    /// <summary>Tokens of a prompt, from its beginning, that the cache holds.</summary>
    /// <param name="chain">The prompt's names.</param>
    public int Held(ReadOnlySpan<ulong> chain)
    {
        int held = 0;
        while (held < chain.Length && Contains(chain[held]))
            held++;
        return held * PrefixChain.Span;
    }

    /// <summary>Copies the names out. Any thread; misses or repeats what moves meanwhile.</summary>
    public IEnumerable<ulong> Names()
    {
        for (int place = 0; place < names.Length; place++)
            if (Volatile.Read(ref names[place]) is var name and not 0)
                yield return name;
    }

    /// <summary>Makes room for so many names, before there are any.</summary>
    internal void Reserve(int capacity)
    {
        int size = 16;
        while (size < 2L * capacity)
            size *= 2;
        names = new ulong[size];
        mask = (ulong)size - 1;
    }

    internal void Add(ulong name)
    {
        if (name == 0)
            return; // the mark of a free place: one name in 2⁶⁴ is never found
        ulong place = Spread(name);
        for (; names[place] != 0; place = (place + 1) & mask)
            if (names[place] == name)
                return;
        Volatile.Write(ref names[place], name);
        Volatile.Write(ref count, count + 1);
        Volatile.Write(ref changes, changes + 1);
    }

    internal void Remove(ulong name)
    {
        ulong hole = Spread(name);
        for (; names[hole] != name; hole = (hole + 1) & mask)
            if (names[hole] == 0)
                return;
        // What stands behind the hole and could stand in it moves there, so that every search still ends at a free place.
        for (ulong next = (hole + 1) & mask; names[next] != 0; next = (next + 1) & mask)
        {
            if (((next - Spread(names[next])) & mask) < ((next - hole) & mask))
                continue;
            Volatile.Write(ref names[hole], names[next]);
            hole = next;
        }
        Volatile.Write(ref names[hole], 0);
        Volatile.Write(ref count, count - 1);
        Volatile.Write(ref changes, changes + 1);
    }

    internal void Clear()
    {
        Array.Clear(names);
        Volatile.Write(ref count, 0);
        Volatile.Write(ref changes, changes + 1);
    }

    // Names are hashes already.
    private ulong Spread(ulong name) => name & mask;
}
