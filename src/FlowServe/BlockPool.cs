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
    public void Release(int block)
    {
        if (references[block] == 0)
            throw new InvalidOperationException($"Block {block} has no user to take away.");
        if (--references[block] > 0)
            return;
        if (cached[block])
            Link(block);
        else
            free[freeCount++] = block;
    }

    /// <summary>Marks a used block's content as known.</summary>
    public void Keep(int block) => cached[block] = true;

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

    private void Link(int block)
    {
        int last = previous[Blocks];
        (next[last], previous[block], next[block], previous[Blocks]) = (block, last, Blocks, block);
        unusedCached++;
    }

    private void Unlink(int block)
    {
        (next[previous[block]], previous[next[block]]) = (next[block], previous[block]);
        unusedCached--;
    }
}
