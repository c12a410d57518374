namespace XDeepServe.FlowServe.Tiers;

/// <summary>Where cache blocks go that the device has no room for.</summary>
public sealed record TierOptions
{
    /// <summary>Least host memory of a DP group where there is a folder: blocks pass through it.</summary>
    public const long LeastHostBytes = 64L << 20;

    /// <summary>Host memory of each DP group for cache blocks, in bytes.</summary>
    public long HostBytes { get; init; }

    /// <summary>Folder that keeps blocks beyond the process; null for none. Processes may share one.</summary>
    public string? Folder { get; init; }

    /// <summary>Most bytes of all cache files in the folder, whoever wrote them.</summary>
    public long FolderBytes { get; init; } = 10L << 30;

    /// <summary>Names the model's weights and how they compute: blocks of another are never read.</summary>
    public ulong Model { get; init; }

    /// <summary>Load whatever is found, however long that takes: for measurements and tests.</summary>
    public bool AlwaysLoad { get; init; }

    /// <summary>Told, in a line, why a tier went out of use.</summary>
    public Action<string>? Complain { get; init; }

    /// <summary>Checks the values.</summary>
    /// <exception cref="ArgumentException">A value cannot work; says which.</exception>
    public void Validate()
    {
        if (HostBytes < 0 || (HostBytes == 0 && Folder is null))
            throw new ArgumentException($"{HostBytes} bytes of host memory hold no cache block; give --kv-offloading-size more, or leave it out.");
        if (Folder is not null && FolderBytes < 1)
            throw new ArgumentException($"A disk cache needs room: --disk-cache-size is {FolderBytes} bytes.");
    }
}
