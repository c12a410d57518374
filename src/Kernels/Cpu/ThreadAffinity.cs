using System.Runtime.InteropServices;

namespace XDeepServe.Kernels.Cpu;

/// <summary>Binds the calling thread to one core, where the system can.</summary>
internal static unsafe partial class ThreadAffinity
{
    private const int MaskWords = 16; // 1024 processors, the size of the C library's cpu_set_t

    /// <summary>Cores that the calling thread may use.</summary>
    public static int Cores()
    {
        ulong* allowed = stackalloc ulong[MaskWords];
        new Span<ulong>(allowed, MaskWords).Clear();
        if (!OperatingSystem.IsLinux() || GetAffinity(0, MaskWords * sizeof(ulong), allowed) < 0)
            return Environment.ProcessorCount;
        int count = 0;
        for (int word = 0; word < MaskWords; word++)
            count += System.Numerics.BitOperations.PopCount(allowed[word]);
        return count;
    }

    /// <summary>Binds the calling thread to the <paramref name="index"/>-th core that this process may use.</summary>
    /// <returns>False where the system has no such call or refuses; the thread then stays where the scheduler puts it.</returns>
    public static bool Bind(int index)
    {
        if (!OperatingSystem.IsLinux())
            return false;
        ulong* allowed = stackalloc ulong[MaskWords];
        new Span<ulong>(allowed, MaskWords).Clear();
        if (GetAffinity(0, MaskWords * sizeof(ulong), allowed) < 0)
            return false;
        for (int processor = 0; processor < MaskWords * 64; processor++)
        {
            if ((allowed[processor / 64] >> (processor % 64) & 1) == 0 || index-- > 0)
                continue;
            ulong* chosen = stackalloc ulong[MaskWords];
            new Span<ulong>(chosen, MaskWords).Clear();
            chosen[processor / 64] = 1UL << (processor % 64);
            return SetAffinity(0, MaskWords * sizeof(ulong), chosen) == 0;
        }
        return false;
    }

    /// <summary>Keeps a thread of this process to some cores; Linux alone.</summary>
    /// <param name="thread">Its id.</param>
    /// <param name="cores">Numbers of cores.</param>
    /// <returns>False where the system refuses, or the thread has ended.</returns>
    public static bool Keep(int thread, IReadOnlyList<int> cores)
    {
        ulong* chosen = stackalloc ulong[MaskWords];
        new Span<ulong>(chosen, MaskWords).Clear();
        foreach (int core in cores)
            if (core < MaskWords * 64)
                chosen[core / 64] |= 1UL << (core % 64);
        return SetAffinity(thread, MaskWords * sizeof(ulong), chosen) == 0;
    }

    [LibraryImport("libc", EntryPoint = "sched_getaffinity")]
    private static partial int GetAffinity(int thread, nuint bytes, ulong* mask);

    [LibraryImport("libc", EntryPoint = "sched_setaffinity")]
    private static partial int SetAffinity(int thread, nuint bytes, ulong* mask);
}
