using System.Runtime.InteropServices;

namespace XDeepServe.Kernels.Cpu;

/// <summary>A block of native memory, aligned to 64 bytes (2 MiB for large ones, with huge pages asked for). Owned by its holder.</summary>
internal sealed unsafe partial class NativeBlock : IDisposable
{
    private const long HugePage = 2 << 20;
    private const int HugePages = 14; // MADV_HUGEPAGE
    private void* memory;

    /// <summary>Takes memory; its content is undefined.</summary>
    public NativeBlock(long bytes)
    {
        Bytes = bytes;
        bool large = bytes >= 2 * HugePage;
        memory = NativeMemory.AlignedAlloc((nuint)Math.Max(bytes, 64), large ? (nuint)HugePage : 64);
        // Weights are read front to back: fewer, larger pages spare the address translation. A refusal costs only speed.
        if (large && OperatingSystem.IsLinux())
            _ = Advise((nint)memory, (nuint)(bytes / HugePage * HugePage), HugePages);
    }

    /// <summary>First byte.</summary>
    public byte* Start => (byte*)memory;

    /// <summary>Length.</summary>
    public long Bytes { get; }

    /// <summary>Makes <paramref name="block"/> hold at least <paramref name="bytes"/>; its content is lost when it grows.</summary>
    public static byte* Ensure(ref NativeBlock? block, long bytes)
    {
        if (block is null || block.Bytes < bytes)
        {
            block?.Dispose();
            block = new NativeBlock(bytes);
        }
        return block.Start;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.AlignedFree(memory);
        memory = null;
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(nint address, nuint bytes, int advice);
}
