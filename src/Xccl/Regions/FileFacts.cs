using System.Runtime.InteropServices;

namespace XDeepServe.Xccl.Regions;

/// <summary>What the system says about an open file that .NET does not: whose it is, and how much memory it has.</summary>
/// <param name="OwnerAccount">User id of its owner.</param>
/// <param name="Bytes">Bytes of memory that are really its own; holes have none.</param>
internal readonly unsafe partial record struct FileFacts(uint OwnerAccount, long Bytes)
{
    private const int EmptyPath = 0x1000; // AT_EMPTY_PATH: the open file itself
    private const uint Basics = 0x7FF; // STATX_BASIC_STATS

    /// <summary>User id that this process acts as.</summary>
    public static uint OwnAccount => GetAccount();

    /// <exception cref="IOException">The system does not say.</exception>
    public static FileFacts Of(FileStream stream)
    {
        Status status = default;
        if (Call((int)stream.SafeFileHandle.DangerousGetHandle(), "", EmptyPath, Basics, &status) != 0)
            throw new IOException($"{stream.Name} could not be examined: {Marshal.GetLastPInvokeErrorMessage()}.");
        return new FileFacts(status.Account, (long)status.Blocks * 512);
    }

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Call(int file, string path, int flags, uint mask, Status* status);

    [LibraryImport("libc", EntryPoint = "geteuid")]
    private static partial uint GetAccount();

    /// <summary>The kernel's struct statx, the same on every architecture.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct Status
    {
        [FieldOffset(20)] public uint Account;
        [FieldOffset(48)] public ulong Blocks; // of 512 bytes
    }
}
