using System.IO.Hashing;
using System.Runtime.InteropServices;
using System.Text;

namespace XDeepServe.FlowServe;

/// <summary>
/// A radix tree over token ids whose edges are whole cache blocks: a node is a block, its key the node before it and the
/// block's tokens. Kept in arrays, with one hash table for all edges. Hashes depend on tokens and salt alone, never on the
/// process, and are always checked against the tokens. Touches no tensor. One thread.
/// </summary>
public sealed class RadixIndex
{
    /// <summary>The node before the first block of an unsalted sequence.</summary>
    public const int Root = -1;

    private const int Free = -1;
    private readonly int blockSize;
    private readonly int[] tokens;      // [blocks, blockSize]
    private readonly ulong[] hashes;    // [blocks] of the block and all before it
    private readonly int[] parents;     // [blocks]
    private readonly bool[] present;    // [blocks]
    private readonly int[] buckets;     // open addressing: block or Free
    private readonly int mask;

    /// <summary>An empty index.</summary>
    public RadixIndex(int blocks, int blockSize)
    {
        this.blockSize = blockSize;
        tokens = new int[(long)blocks * blockSize];
        hashes = new ulong[blocks];
        parents = new int[blocks];
        present = new bool[blocks];
        int size = 16;
        while (size < 2 * blocks)
            size *= 2;
        buckets = new int[size];
        Array.Fill(buckets, Free);
        mask = size - 1;
    }

    /// <summary>Nodes in the tree.</summary>
    public int Count { get; private set; }

    /// <summary>The hash from which a sequence's first block goes on.</summary>
    public static ulong SaltHash(string? salt) => salt is null ? 0x58445365727665UL : XxHash3.HashToUInt64(Encoding.UTF8.GetBytes(salt), 1);

    /// <summary>The hash of a block behind others.</summary>
    /// <param name="before">Hash of everything before it.</param>
    /// <param name="block">Its tokens.</param>
    public static ulong Hash(ulong before, ReadOnlySpan<int> block) =>
        XxHash3.HashToUInt64(MemoryMarshal.AsBytes(block), unchecked((long)before));

    /// <summary>Finds the node of a block.</summary>
    /// <param name="parent">The node before it, or <see cref="Root"/>.</param>
    /// <param name="hash">Its <see cref="Hash"/>.</param>
    /// <param name="block">Its tokens.</param>
    /// <returns>The cache block, or -1.</returns>
    public int Find(int parent, ulong hash, ReadOnlySpan<int> block)
    {
        for (int bucket = (int)hash & mask; buckets[bucket] != Free; bucket = (bucket + 1) & mask)
        {
            int found = buckets[bucket];
            if (hashes[found] == hash && parents[found] == parent && Tokens(found).SequenceEqual(block))
                return found;
        }
        return -1;
    }

    /// <summary>Some node of a hash, unchecked; -1 if there is none.</summary>
    public int Find(ulong hash)
    {
        for (int bucket = (int)hash & mask; buckets[bucket] != Free; bucket = (bucket + 1) & mask)
            if (hashes[buckets[bucket]] == hash)
                return buckets[bucket];
        return -1;
    }

    /// <summary>Adds a node. The parent, if any, must be present for as long as this one is.</summary>
    /// <exception cref="InvalidOperationException">The block is a node already.</exception>
    public void Add(int block, int parent, ulong hash, ReadOnlySpan<int> content)
    {
        if (present[block])
            throw new InvalidOperationException($"Block {block} is in the index already.");
        content.CopyTo(TokensOf(block));
        (hashes[block], parents[block], present[block]) = (hash, parent, true);
        int bucket = (int)hash & mask;
        while (buckets[bucket] != Free)
            bucket = (bucket + 1) & mask;
        buckets[bucket] = block;
        Count++;
    }

    /// <summary>Takes a node away.</summary>
    public void Remove(int block)
    {
        if (!present[block])
            throw new InvalidOperationException($"Block {block} is not in the index.");
        int bucket = (int)hashes[block] & mask;
        while (buckets[bucket] != block)
            bucket = (bucket + 1) & mask;
        // Close the gap: later entries that could stand here move up, so that no search ends too early.
        for (int follower = (bucket + 1) & mask; buckets[follower] != Free; follower = (follower + 1) & mask)
        {
            int home = (int)hashes[buckets[follower]] & mask;
            if (((follower - home) & mask) >= ((follower - bucket) & mask))
            {
                buckets[bucket] = buckets[follower];
                bucket = follower;
            }
        }
        buckets[bucket] = Free;
        present[block] = false;
        Count--;
    }

    /// <summary>Takes all nodes away.</summary>
    public void Clear()
    {
        Array.Fill(buckets, Free);
        Array.Clear(present);
        Count = 0;
    }

    /// <summary>The hash of a node and all before it.</summary>
    public ulong HashOf(int block) => hashes[block];

    /// <summary>The tokens of a node.</summary>
    public ReadOnlySpan<int> Tokens(int block) => TokensOf(block);

    private Span<int> TokensOf(int block) => tokens.AsSpan(block * blockSize, blockSize);
}
