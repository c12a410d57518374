using System.Numerics;

namespace XDeepServe.Models.Text;

/// <summary>A trie of byte strings with a token id at the end of each. The root is node 0.</summary>
internal sealed class ByteTrie
{
    private uint[] keys = new uint[1 << 12];   // node << 8 | byte; open addressing
    private int[] children = new int[1 << 12]; // 0: empty slot, for nothing leads to the root
    private readonly List<int> ids = [-1];     // [nodes] the token that ends there, -1: none

    /// <summary>Stores a string; a later one of the same bytes takes its place.</summary>
    public void Add(ReadOnlySpan<byte> bytes, int id)
    {
        var node = 0;
        foreach (var value in bytes)
        {
            var next = Child(node, value);
            if (next == 0)
            {
                if (ids.Count >= 1 << 24)
                    throw new TokenizerException("The tokenizer's vocabulary is too large.");
                next = ids.Count;
                ids.Add(-1);
                Insert(Key(node, value), next);
            }
            node = next;
        }
        ids[node] = id;
    }

    /// <summary>The node that a byte leads to, 0 if it leads nowhere.</summary>
    public int Child(int node, byte value)
    {
        var key = Key(node, value);
        var mask = keys.Length - 1;
        var slot = Slot(key) & mask;
        while (children[slot] != 0 && keys[slot] != key)
            slot = (slot + 1) & mask;
        return children[slot];
    }

    /// <summary>The token that ends at a node, -1 if none does.</summary>
    public int Id(int node) => ids[node];

    private static uint Key(int node, byte value) => ((uint)node << 8) | value;

    private static int Slot(uint key) => (int)((key * 0x9E3779B97F4A7C15) >> 33);

    private void Insert(uint key, int child)
    {
        if (ids.Count * 2 > keys.Length)
        {
            var (oldKeys, oldChildren) = (keys, children);
            keys = new uint[BitOperations.RoundUpToPowerOf2((uint)oldKeys.Length + 1)];
            children = new int[keys.Length];
            for (var i = 0; i < oldKeys.Length; i++)
                if (oldChildren[i] != 0)
                    Place(oldKeys[i], oldChildren[i]);
        }
        Place(key, child);
    }

    private void Place(uint key, int child)
    {
        var mask = keys.Length - 1;
        var slot = Slot(key) & mask;
        while (children[slot] != 0)
            slot = (slot + 1) & mask;
        (keys[slot], children[slot]) = (key, child);
    }
}
