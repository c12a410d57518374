using System.Globalization;
using System.IO.Hashing;
using System.Runtime.InteropServices;

namespace XDeepServe.FlowServe.Tiers;

/// <summary>What the blocks of a file are. Files of another are never read.</summary>
/// <param name="Model">Names the model's weights and how they compute.</param>
/// <param name="Layout">Names layers, heads, widths and type (<see cref="KvPort.Fingerprint"/>).</param>
/// <param name="BlockSize">Positions of a block.</param>
/// <param name="BlockBytes">Bytes of a block.</param>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
public readonly record struct DiskFormat(ulong Model, ulong Layout, int BlockSize, int BlockBytes)
{
    /// <summary>Files of all formats end so; the bound counts them all.</summary>
    public const string Extension = ".xdskv";

    /// <summary>Differs where any of it does.</summary>
    public ulong Fingerprint
    {
        get
        {
            DiskFormat self = this;
            return XxHash3.HashToUInt64(MemoryMarshal.AsBytes(new ReadOnlySpan<DiskFormat>(in self)));
        }
    }

    /// <summary>Files of this format begin so.</summary>
    public string Prefix => Fingerprint.ToString("x16", CultureInfo.InvariantCulture) + "-";

    /// <summary>Bytes of a table entry: <see cref="SegmentEntry"/>, then the tokens.</summary>
    public int EntryBytes => 32 + 4 * BlockSize;
}

/// <summary>What the table of a file says of a block, before its tokens.</summary>
/// <param name="Check">Of what follows and the tokens, with the format's fingerprint; 0 where there is no block yet.</param>
/// <param name="Hash">Chain hash of the block's tokens and all before.</param>
/// <param name="Parent">Chain hash of all before.</param>
/// <param name="Content">Of the block's bytes.</param>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
internal readonly record struct SegmentEntry(ulong Check, ulong Hash, ulong Parent, ulong Content);
