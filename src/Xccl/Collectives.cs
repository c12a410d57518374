using XDeepServe.Xccl.Regions;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Xccl;

/// <summary>
/// Small group operations: every rank writes its record into every peer's region and waits, in its own, for all of theirs.
/// All ranks call the same operations in the same order.
/// </summary>
public sealed unsafe class Collectives
{
    private readonly Communicator group;
    private readonly int recordBytes;
    private readonly int[] members; // rising
    private uint generation;
    private uint sequence;
    private int woken;

    internal Collectives(Communicator group, int[] members)
    {
        (this.group, this.members) = (group, members);
        recordBytes = group.Geometry.RecordBytes;
    }

    /// <summary>
    /// The same operations among some ranks of the group, in order of rank. They take the place of the whole group's, which nobody
    /// calls any more; the death of any rank of the group still ends them.
    /// </summary>
    /// <param name="ranks">Rising; the same on all of them, this rank included.</param>
    public Collectives Among(params IReadOnlyList<int> ranks) => new(group, [.. ranks]) { generation = generation, sequence = sequence };

    /// <summary>Returns when all ranks have called it.</summary>
    /// <param name="timeout">Most time for it; the group's if none is given.</param>
    /// <param name="cancel">Ends the wait; this rank must then leave and join again.</param>
    /// <exception cref="XcclException">A rank died, left or did not come in time.</exception>
    public void Barrier(TimeSpan? timeout = null, CancellationToken cancel = default) => Gather([], timeout, cancel);

    /// <summary>Collects one record from each rank.</summary>
    /// <param name="record">This rank's, at most the geometry's record size; the same length on all ranks.</param>
    /// <param name="records">Room for all, in order of rank.</param>
    /// <param name="timeout">Most time for it; the group's if none is given.</param>
    /// <param name="cancel">Ends the wait; this rank must then leave and join again.</param>
    /// <exception cref="XcclException">A rank died, left, did not come in time or gave another length.</exception>
    public void AllGather(ReadOnlySpan<byte> record, Span<byte> records, TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        if (records.Length < (long)record.Length * members.Length)
            throw new ArgumentException($"{members.Length} records of {record.Length} bytes do not fit into {records.Length}.");
        Gather(record, timeout, cancel);
        for (int place = 0; place < members.Length; place++)
            Take(members[place], records.Slice(place * record.Length, record.Length));
    }

    /// <summary>Copies one rank's bytes to all.</summary>
    /// <param name="root">Whose bytes.</param>
    /// <param name="bytes">The root's bytes, and room for as many on the others.</param>
    /// <param name="timeout">Most time for each record's worth; the group's if none is given.</param>
    /// <param name="cancel">Ends the wait; this rank must then leave and join again.</param>
    /// <exception cref="XcclException">A rank died, left, did not come in time or gave another length.</exception>
    public void Broadcast(int root, Span<byte> bytes, TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        group.Link(root);
        for (; bytes.Length > 0; bytes = bytes[Math.Min(recordBytes, bytes.Length)..])
        {
            Span<byte> part = bytes[..Math.Min(recordBytes, bytes.Length)];
            Gather(group.Rank == root ? part : [], timeout, cancel);
            if (group.Rank != root)
                Take(root, part);
        }
    }

    /// <summary>
    /// Sleeps until a peer has begun the next operation, or somebody calls <see cref="Wake"/>: how a rank without work waits. Does
    /// not end by time; a group whose <see cref="Communicator.Strategy"/> is to spin spins here too.
    /// </summary>
    /// <param name="cancel">Ends the wait.</param>
    /// <returns>True if a peer has begun; false if the rank was woken.</returns>
    /// <exception cref="PeerLostException">A rank of the group died or left.</exception>
    public bool WaitForPeer(CancellationToken cancel = default)
    {
        Patience patience = new(group, Awaited.Record, sequence + 1, TimeSpan.MaxValue, cancel);
        try
        {
            while (true)
            {
                if (Interlocked.Exchange(ref woken, 0) != 0)
                    return false;
                if (HasBegun())
                    return true;
                patience.StepOfAll(group.Rank);
            }
        }
        finally
        {
            patience.End();
        }
    }

    /// <summary>Ends this rank's <see cref="WaitForPeer"/>, the next one if none is under way. Any thread of its process.</summary>
    public void Wake()
    {
        Volatile.Write(ref woken, 1);
        group.Bell.Ring();
    }

    private bool HasBegun()
    {
        group.Link(group.Rank);
        uint next = generation == group.Generation ? sequence + 1 : 1;
        foreach (int rank in members)
            if (rank != group.Rank && group.Own.Read(group.Region.Layout.Record(next, rank)) == Stamps.Make(group.Generation, next))
                return true;
        return false;
    }

    private void Gather(ReadOnlySpan<byte> record, TimeSpan? timeout, CancellationToken cancel)
    {
        if (record.Length > recordBytes)
            throw new ArgumentException($"A record of {record.Length} bytes is larger than the geometry's {recordBytes}.");
        if (generation != group.Generation)
            (generation, sequence) = (group.Generation, 0);
        sequence++;
        // Two sets of fields are enough: whoever sends the next record has read all of this round.
        for (int turn = 0; turn < members.Length; turn++)
        {
            PeerLink peer = group.Link(members[(group.Rank + turn) % members.Length]);
            long field = peer.Region.Layout.Record(sequence, group.Rank);
            fixed (byte* source = record)
                peer.Memory.Put(field + RegionLayout.FieldBytes, source, record.Length);
            peer.Words.Write(field + sizeof(ulong), (ulong)record.Length);
            peer.Memory.Signal(field, Stamps.Make(generation, sequence));
        }
        Patience patience = new(group, Awaited.Record, sequence, timeout ?? group.Timeout, cancel);
        try
        {
            foreach (int rank in members)
                while (group.Own.Read(group.Region.Layout.Record(sequence, rank)) != Stamps.Make(generation, sequence))
                    patience.StepOfAll(rank);
        }
        finally
        {
            patience.End();
        }
    }

    private void Take(int rank, Span<byte> destination)
    {
        long field = group.Region.Layout.Record(sequence, rank);
        ulong length = group.Own.Read(field + sizeof(ulong));
        if (length != (ulong)destination.Length)
            throw new MessageException(rank, $"Rank {rank} gave a record of {length} bytes where this rank expects {destination.Length}: call the same operations in the same order on all ranks.");
        new ReadOnlySpan<byte>(group.Region.Start + field + RegionLayout.FieldBytes, destination.Length).CopyTo(destination);
    }
}
