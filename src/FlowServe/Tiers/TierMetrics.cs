namespace XDeepServe.FlowServe.Tiers;

/// <summary>What the tiers behind one DP group's device cache have done. Written by the group's thread, read by any.</summary>
public sealed class TierMetrics
{
    /// <summary>Prompt tokens whose keys and values came from host memory.</summary>
    public long HostHits { get; internal set; }

    /// <summary>Prompt tokens whose keys and values came from disk.</summary>
    public long DiskHits { get; internal set; }

    /// <summary>Bytes copied from the device to host memory.</summary>
    public long SavedBytes { get; internal set; }

    /// <summary>Bytes copied from host memory to the device.</summary>
    public long LoadedBytes { get; internal set; }

    /// <summary>Bytes written to disk.</summary>
    public long WrittenBytes { get; internal set; }

    /// <summary>Bytes read from disk.</summary>
    public long ReadBytes { get; internal set; }

    /// <summary>Seconds that the copies between device and host memory took.</summary>
    public double MoveSeconds { get; internal set; }

    /// <summary>Share of host memory that holds blocks, 0 to 1.</summary>
    public double HostUsage { get; internal set; }

    /// <summary>Share of the folder's bytes in use, 0 to 1.</summary>
    public double DiskUsage { get; internal set; }

    /// <summary>Blocks lost on their way down: evicted before they were saved, or the disk was behind.</summary>
    public long Dropped { get; internal set; }

    /// <summary>Times that computing again was predicted to be faster than loading what was found.</summary>
    public long Declined { get; internal set; }

    /// <summary>Loads that brought less than was asked: what was on disk was gone or damaged.</summary>
    public long Failed { get; internal set; }
}
