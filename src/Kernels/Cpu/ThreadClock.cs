using System.Diagnostics;
using System.Runtime.InteropServices;

namespace XDeepServe.Kernels.Cpu;

/// <summary>Processor time of the calling thread.</summary>
public static partial class ThreadClock
{
    private const int ThreadCpuTime = 3; // CLOCK_THREAD_CPUTIME_ID

    /// <summary>What the thread has had of a processor so far, in ticks of <see cref="Stopwatch"/>; where nobody tells (not on Linux), the time that has passed.</summary>
    public static long Now() =>
        OperatingSystem.IsLinux() && ClockGetTime(ThreadCpuTime, out TimeSpec time) == 0
            ? (long)((time.Seconds + (time.Nanoseconds * 1e-9)) * Stopwatch.Frequency)
            : Stopwatch.GetTimestamp();

    [LibraryImport("libc", EntryPoint = "clock_gettime")]
    private static partial int ClockGetTime(int clock, out TimeSpec time);

    private struct TimeSpec
    {
        public nint Seconds, Nanoseconds;
    }
}
