using System.Runtime.InteropServices;

namespace XDeepServe.Xccl.Regions;

/// <summary>The first page of a region: who owns it and how it is laid out. The owner alone writes it, the doorbell excepted.</summary>
[StructLayout(LayoutKind.Explicit, Size = Bytes)]
internal struct RegionHeader
{
    public const int Bytes = 4096;
    public const ulong MagicNumber = 0x3130_4C43_4358_5358; // "XSXCCL01"
    public const uint CurrentVersion = 2;
    public const int StateOffset = 16;
    public const int BellOffset = 64;

    [FieldOffset(0)] public ulong Magic;
    [FieldOffset(8)] public uint Version;
    [FieldOffset(12)] public uint Sleeps; // 1: the owner's waits may sleep, so that signals must ring the bell
    [FieldOffset(StateOffset)] public ulong State; // RegionState, the last field that is written
    [FieldOffset(24)] public ulong Geometry; // fingerprint
    [FieldOffset(32)] public ulong Epoch;
    [FieldOffset(40)] public int Rank;
    [FieldOffset(44)] public int Ranks;
    [FieldOffset(48)] public int OwnerId; // process
    [FieldOffset(56)] public ulong OwnerStart; // clock ticks since boot
    [FieldOffset(128)] public ulong OwnerSpace; // the namespace in which the process id holds
    [FieldOffset(BellOffset)] public ulong Bell; // the low half is the futex
    [FieldOffset(BellOffset + 8)] public ulong Sleepers; // threads of the owner that sleep or are about to

    public ProcessIdentity Owner
    {
        readonly get => new(OwnerId, OwnerStart, OwnerSpace);
        set => (OwnerId, OwnerStart, OwnerSpace) = (value.Id, value.Start, value.Space);
    }
}

/// <summary>A region's life.</summary>
internal enum RegionState : ulong
{
    /// <summary>Being made.</summary>
    Raw = 0,
    /// <summary>Peers may map it.</summary>
    Ready = 1,
    /// <summary>The owner has left in order.</summary>
    Closed = 2,
}
