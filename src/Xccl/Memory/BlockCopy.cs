using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace XDeepServe.Xccl.Memory;

/// <summary>Copies of chunks and rows. Source and destination do not overlap.</summary>
internal static unsafe class BlockCopy
{
    private const int Step = 256;

    /// <summary>From this many bytes on, what is written together does not stay in a core's cache until it is read.</summary>
    public const long LargeBytes = 1 << 20;

    /// <summary>
    /// Copies past the cache: for more than it holds, where fetching lines only to overwrite them would cost as much as writing
    /// them. <see cref="EndStream"/> comes before the bytes are announced.
    /// </summary>
    public static void Stream(byte* destination, byte* source, long bytes)
    {
        if (!Vector512.IsHardwareAccelerated || (nint)destination % Vector512<byte>.Count != 0)
        {
            Run(destination, source, bytes);
            return;
        }
        long done = 0;
        for (; done <= bytes - Step; done += Step)
        {
            Vector512<byte> a = Vector512.Load(source + done);
            Vector512<byte> b = Vector512.Load(source + done + 64);
            Vector512<byte> c = Vector512.Load(source + done + 128);
            Vector512<byte> d = Vector512.Load(source + done + 192);
            a.StoreAlignedNonTemporal(destination + done);
            b.StoreAlignedNonTemporal(destination + done + 64);
            c.StoreAlignedNonTemporal(destination + done + 128);
            d.StoreAlignedNonTemporal(destination + done + 192);
        }
        if (done < bytes)
            Unsafe.CopyBlockUnaligned(destination + done, source + done, (uint)(bytes - done));
    }

    /// <summary>Stores past the cache are in no order with others until this.</summary>
    public static void EndStream()
    {
        if (Sse.IsSupported)
            Sse.StoreFence();
        else
            Interlocked.MemoryBarrier();
    }

    /// <summary>Copies through the cache: the bytes are wanted again at once, by this core or its neighbour.</summary>
    public static void Run(byte* destination, byte* source, long bytes)
    {
        if (!Vector512.IsHardwareAccelerated)
        {
            Buffer.MemoryCopy(source, destination, bytes, bytes);
            return;
        }
        long done = 0;
        for (; done <= bytes - Step; done += Step)
        {
            Vector512<byte> a = Vector512.Load(source + done);
            Vector512<byte> b = Vector512.Load(source + done + 64);
            Vector512<byte> c = Vector512.Load(source + done + 128);
            Vector512<byte> d = Vector512.Load(source + done + 192);
            a.Store(destination + done);
            b.Store(destination + done + 64);
            c.Store(destination + done + 128);
            d.Store(destination + done + 192);
        }
        if (done < bytes)
            Unsafe.CopyBlockUnaligned(destination + done, source + done, (uint)(bytes - done));
    }
}
