namespace XDeepServe.FlowServe;

/// <summary>
/// Counts the users of every cache block. A block is in use (one or more sequences hold it), cached (nobody does, but its
/// content is known and may be used again) or free. Touches no tensor. One thread.
/// </summary>
public sealed class BlockPool
{
    private readonly int[] references; // [blocks]
    private readonly bool[] cached;    // [blocks] content is known to the index
    private readonly int[] next;       // [blocks + 1] list of unused cached blocks, oldest first; the last entry is its head
    private readonly int[] previous;
    private readonly int[] free;       // [blocks] stack
    private int freeCount, unusedCached;

    /// <summary>A pool of free blocks.</summary>
    public BlockPool(int blocks)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blocks);
        Blocks = blocks;
        references = new int[blocks];
        cached = new bool[blocks];
        next = new int[blocks + 1];
        previous = new int[blocks + 1];
        next[blocks] = previous[blocks] = blocks;
        free = new int[blocks];
        for (int i = 0; i < blocks; i++)
            free[i] = blocks - 1 - i;
        freeCount = blocks;
    }

    /// <summary>Number of blocks.</summary>
    public int Blocks { get; }

    /// <summary>Blocks that hold nothing.</summary>
    public int Free => freeCount;

    /// <summary>Blocks that can be taken: free ones and cached ones that nobody uses.</summary>
    public int Available => freeCount + unusedCached;

    /// <summary>Blocks that sequences hold.</summary>
    public int InUse => Blocks - Available;

    /// <summary>Blocks whose content is kept though nobody uses them.</summary>
    public int UnusedCached => unusedCached;

    /// <summary>Users of a block.</summary>
    public int References(int block) => references[block];

    /// <summary>Takes a block for one user.</summary>
    /// <param name="block">The block.</param>
    /// <param name="evicted">True if it was the longest unused cached one: its content is to be forgotten.</param>
    /// <returns>False if all are in use.</returns>
    public bool TryTake(out int block, out bool evicted)
    {
        evicted = false;
        if (freeCount > 0)
        {
            block = free[--freeCount];
        }
        else if (unusedCached > 0)
        {
            block = next[Blocks];
            Unlink(block);
            cached[block] = false;
            evicted = true;
        }
        else
        {
            block = -1;
            return false;
        }
        references[block] = 1;
        return true;
    }

    /// <summary>Adds a user to a block that is in use or cached.</summary>
    public void Acquire(int block)
    {
        if (references[block] == 0 && !cached[block])
            throw new InvalidOperationException($"Block {block} is free; it cannot be shared.");
        if (references[block]++ == 0)
            Unlink(block);
    }

    /// <summary>Takes a user away. Without users a cached block waits to be used again, as the newest; others are free.</summary>
    /// <param name="block">The block.</param>
    /// <param name="newer">Where it waits right before a cached block that nobody uses: that one. It is then evicted just before it.</param>
    public void Release(int block, int newer = -1)
    {
        if (references[block] == 0)
            throw new InvalidOperationException($"Block {block} has no user to take away.");
        if (--references[block] > 0)
            return;
        if (cached[block])
            Link(block, newer >= 0 && newer != block && cached[newer] && references[newer] == 0 ? newer : Blocks);
        else
            free[freeCount++] = block;
    }

    /// <summary>Marks a used block's content as known.</summary>
    public void Keep(int block) => cached[block] = true;

    /// <summary>The cached block that nobody has used for longest.</summary>
    /// <returns>False if there is none.</returns>
    public bool TryOldest(out int block)
    {
        block = next[Blocks];
        return unusedCached > 0;
    }

    /// <summary>The cached block that was given up last.</summary>
    /// <returns>False if there is none.</returns>
    public bool TryNewest(out int block)
    {
        block = previous[Blocks];
        return unusedCached > 0;
    }

    /// <summary>Forgets the content of a cached block that nobody uses: it is free.</summary>
    public void Forget(int block)
    {
        if (references[block] > 0 || !cached[block])
            throw new InvalidOperationException($"Block {block} is in use or not cached; it has nothing to forget.");
        Unlink(block);
        cached[block] = false;
        free[freeCount++] = block;
    }

    /// <summary>Forgets the content of all cached blocks.</summary>
    public void ForgetAll()
    {
        while (unusedCached > 0)
        {
            int block = next[Blocks];
            Unlink(block);
            free[freeCount++] = block;
        }
        Array.Clear(cached);
    }

    private void Link(int block, int newer)
    {
        int older = previous[newer];
        (next[older], previous[block], next[block], previous[newer]) = (block, older, newer, block);
        unusedCached++;
    }

    private void Unlink(int block)
    {
        (next[previous[block]], previous[next[block]]) = (next[block], previous[block]);
        unusedCached--;
    }
}
