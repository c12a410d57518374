namespace XDeepServe.Xccl.Memory;

/// <summary>
/// The seam under the protocols: a peer's memory and what can be done to it from here. Bulk bytes go through it; words that
/// ranks poll lie in mapped host memory whatever the bulk lies in. Offsets count from the start of the peer's region.
/// </summary>
public abstract unsafe class PeerMemory
{
    /// <summary>Writes into the peer's memory. Visible to the peer once a later <see cref="Signal"/> is.</summary>
    /// <param name="offset">Where in the peer's region.</param>
    /// <param name="source">The caller's bytes.</param>
    /// <param name="bytes">How many.</param>
    public abstract void Put(long offset, void* source, long bytes);

    /// <summary>Reads from the peer's memory.</summary>
    /// <param name="destination">The caller's room.</param>
    /// <param name="offset">Where in the peer's region.</param>
    /// <param name="bytes">How many.</param>
    public abstract void Get(void* destination, long offset, long bytes);

    /// <summary>Writes a word that the peer polls, after everything that was put before, and wakes the peer if it sleeps.</summary>
    public abstract void Signal(long offset, ulong value);

    /// <summary>Address at which this process can read the peer's bytes without a copy.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The bytes are not within the region.</exception>
    public abstract byte* Map(long offset, long bytes);
}
