using System.Runtime.InteropServices;

namespace XDeepServe.Xccl.Waiting;

/// <summary>The kernel's wait on a word of shared memory; works between processes.</summary>
internal static unsafe partial class Futex
{
    private const int WaitOperation = 0, WakeOperation = 1; // without the private flag: the word is shared

    private static readonly nint Number = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 202 : 98;

    /// <summary>Sleeps while *word == seen; returns early on a wake, a signal or another value.</summary>
    public static void Wait(uint* word, uint seen, int milliseconds)
    {
        Span<long> timeout = [milliseconds / 1000, milliseconds % 1000 * 1_000_000L];
        fixed (long* time = timeout)
            _ = Call(Number, word, WaitOperation, (nint)seen, time, null, 0); // every outcome means: look again
    }

    /// <summary>Wakes all who sleep on the word.</summary>
    public static void WakeAll(uint* word) => _ = Call(Number, word, WakeOperation, int.MaxValue, null, null, 0);

    [LibraryImport("libc", EntryPoint = "syscall")]
    private static partial nint Call(nint number, uint* word, nint operation, nint value, long* timeout, uint* second, nint third);
}
