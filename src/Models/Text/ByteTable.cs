using System.Numerics;
using System.Runtime.InteropServices;

namespace XDeepServe.Models.Text;

/// <summary>The vocabulary: token id to bytes and bytes to token id. All bytes lie in one array, keys are slices of it.</summary>
internal sealed class ByteTable
{
    /// <summary>Ids stay below this: what is kept for every id must not let a small file ask for much memory.</summary>
    private const int MostIds = 1 << 21;

    private byte[] blob;      // the bytes of all tokens
    private int used;
    private int[] offsets;    // [ids] -1: no such token
    private int[] lengths;    // [ids]
    private int[] slots;      // open addressing; id + 1, 0: empty
    private int entries;

    /// <summary>Makes an empty table.</summary>
    /// <param name="capacity">How many tokens are expected.</param>
    public ByteTable(int capacity)
    {
        blob = new byte[Math.Max(256, capacity * 8)];
        offsets = new int[capacity];
        Array.Fill(offsets, -1);
        lengths = new int[capacity];
        slots = new int[BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, capacity * 2))];
    }

    /// <summary>One more than the highest id.</summary>
    public int Count { get; private set; }

    /// <summary>Whether a token has this id.</summary>
    public bool Contains(int id) => (uint)id < (uint)Count && offsets[id] >= 0;

    /// <summary>The bytes of a token; empty for an id without one.</summary>
    public ReadOnlySpan<byte> this[int id] => Contains(id) ? blob.AsSpan(offsets[id], lengths[id]) : default;

    /// <summary>Stores a token's bytes.</summary>
    /// <param name="id">Its id, below 2^21.</param>
    /// <param name="bytes">Its bytes.</param>
    /// <param name="findable">Whether <see cref="Find"/> answers with it.</param>
    public void Add(int id, ReadOnlySpan<byte> bytes, bool findable = true)
    {
        if (id is < 0 or >= MostIds)
            throw new TokenizerException($"The tokenizer gives a token the id {id}; ids must lie between 0 and {MostIds - 1}.");
        if (id >= offsets.Length)
            Extend(id + 1);
        if (used + bytes.Length > blob.Length)
            Array.Resize(ref blob, Math.Max(blob.Length * 2, used + bytes.Length));
        bytes.CopyTo(blob.AsSpan(used));
        offsets[id] = used;
        lengths[id] = bytes.Length;
        used += bytes.Length;
        Count = Math.Max(Count, id + 1);
        if (!findable)
            return;
        if (++entries * 2 > slots.Length)
            Rehash();
        Insert(id);
    }

    /// <summary>The id of the token with these bytes, or -1.</summary>
    public int Find(ReadOnlySpan<byte> bytes)
    {
        var mask = slots.Length - 1;
        for (var slot = (int)Hash(bytes) & mask; slots[slot] != 0; slot = (slot + 1) & mask)
        {
            var id = slots[slot] - 1;
            if (lengths[id] == bytes.Length && blob.AsSpan(offsets[id], lengths[id]).SequenceEqual(bytes))
                return id;
        }
        return -1;
    }

    /// <summary>A fast hash of bytes; not meant to resist an attacker, so callers bound what collisions may cost.</summary>
    public static uint Hash(ReadOnlySpan<byte> bytes)
    {
        var hash = (ulong)bytes.Length * 0x9E3779B97F4A7C15;
        while (bytes.Length >= 8)
        {
            hash = (BitOperations.RotateLeft(hash, 23) ^ MemoryMarshal.Read<ulong>(bytes)) * 0xD6E8FEB86659FD93;
            bytes = bytes[8..];
        }
        ulong tail = 0;
        foreach (var value in bytes)
            tail = (tail << 8) | value;
        hash = (BitOperations.RotateLeft(hash, 23) ^ tail) * 0xD6E8FEB86659FD93;
        return (uint)(hash >> 32);
    }

    private void Insert(int id)
    {
        var mask = slots.Length - 1;
        var slot = (int)Hash(this[id]) & mask;
        while (slots[slot] != 0)
        {
            // The same bytes twice: the later token takes the name, as in a dictionary.
            if (this[slots[slot] - 1].SequenceEqual(this[id]))
                break;
            slot = (slot + 1) & mask;
        }
        slots[slot] = id + 1;
    }

    private void Rehash()
    {
        var old = slots;
        slots = new int[old.Length * 2];
        foreach (var entry in old)
            if (entry != 0)
                Insert(entry - 1);
    }

    private void Extend(int count)
    {
        var before = offsets.Length;
        var size = Math.Max(count, before * 2);
        Array.Resize(ref offsets, size);
        Array.Resize(ref lengths, size);
        Array.Fill(offsets, -1, before, size - before);
    }
}
