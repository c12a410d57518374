using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace XDeepServe.Xccl.Memory;

/// <summary>Copies of chunks and rows. Source and destination do not overlap.</summary>
internal static unsafe class BlockCopy
{
    private const int Step = 256;

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
