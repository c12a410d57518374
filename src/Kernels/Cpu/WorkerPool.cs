using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace XDeepServe.Kernels.Cpu;

/// <summary>A piece of parallel work: a struct that holds what its parts need.</summary>
public interface IPoolWork
{
    /// <summary>Does one part. Parts run in any order and at the same time.</summary>
    /// <param name="part">0 to parts - 1.</param>
    /// <param name="worker">The thread that runs it, 0 (the caller) to Threads - 1: an index for scratch memory.</param>
    void Execute(int part, int worker);
}

/// <summary>
/// Threads that share the parts of one piece of work after another. The caller takes part; the others spin briefly for the
/// next piece and then sleep, and a sleeper that comes late is not waited for. One caller at a time; no nested calls.
/// </summary>
public sealed unsafe class WorkerPool : IDisposable
{
    private const long Open = 1L << 31;
    private const long ActiveMask = Open - 1;
    private const int SpinsBeforeSleep = 4000;
    private const int SpinsBeforeYield = 2000;

    private readonly Thread[] threads;
    private readonly SemaphoreSlim sleepers = new(0);
    private readonly int core; // the caller's; -1 if threads are not bound
    private Shared shared;
    private delegate*<void*, int, int, void> body;
    private void* work;
    private int parts;
    private Exception? failure;
    private volatile bool stopped;

    /// <summary>Starts the threads.</summary>
    /// <param name="threads">Threads that take part, the caller's included; 0 for all cores this process may use.</param>
    /// <param name="pin">Bind each thread but the caller's to a core of its own (Linux; ignored elsewhere).</param>
    /// <param name="firstCore">The caller's core; the other threads have those behind it. Null for the first if there are no more cores than threads.</param>
    public WorkerPool(int threads = 0, bool pin = true, int? firstCore = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        Threads = threads == 0 ? CpuCores.Count : threads;
        // Without a core for each thread, binding would only make threads wait for each other.
        int cores = ThreadAffinity.Cores();
        core = pin && (firstCore is { } first ? first + Threads <= cores : Threads == cores) ? firstCore ?? 0 : -1;
        this.threads = new Thread[Threads - 1];
        for (int index = 0; index < this.threads.Length; index++)
        {
            int worker = index + 1;
            this.threads[index] = new Thread(() => Loop(worker)) { IsBackground = true, Name = $"kernel-{worker}" };
            this.threads[index].Start();
        }
    }

    /// <summary>Threads that take part, the caller's included.</summary>
    public int Threads { get; }

    /// <summary>Binds the calling thread, which is to be the only caller from now on, to its core.</summary>
    /// <returns>Whether it is bound.</returns>
    public bool BindCaller() => core >= 0 && ThreadAffinity.Bind(core);

    /// <summary>Runs all parts and returns when they are done. Allocates nothing.</summary>
    /// <param name="parts">Number of parts; they are handed out one by one.</param>
    /// <param name="work">State and body.</param>
    /// <exception cref="Exception">The first exception of any part; parts that had not started are skipped.</exception>
    public void Run<TWork>(int parts, TWork work) where TWork : struct, IPoolWork
    {
        ObjectDisposedException.ThrowIf(stopped, this);
        if (threads.Length == 0 || parts <= 1)
        {
            for (int part = 0; part < parts; part++)
                work.Execute(part, 0);
            return;
        }
        // The copy lies on this frame's stack, which stays until every worker has left the piece.
        this.work = Unsafe.AsPointer(ref work);
        body = &Invoke<TWork>;
        this.parts = parts;
        shared.Next = 0;
        long generation = (Volatile.Read(ref shared.Gate) >> 32) + 1;
        Interlocked.Exchange(ref shared.Gate, (generation << 32) | Open);
        int asleep = Volatile.Read(ref shared.Asleep);
        if (asleep > 0)
            sleepers.Release(Math.Min(asleep, parts - 1));
        TakeParts(0);
        Interlocked.And(ref shared.Gate, ~Open);
        for (int spins = 0; (Volatile.Read(ref shared.Gate) & ActiveMask) != 0; spins++)
        {
            if (spins < SpinsBeforeYield)
                Thread.SpinWait(4);
            else
                Thread.Yield();
        }
        if (failure is { } exception)
        {
            failure = null;
            ExceptionDispatchInfo.Throw(exception);
        }
    }

    /// <summary>Stops the threads.</summary>
    public void Dispose()
    {
        if (stopped)
            return;
        stopped = true;
        if (threads.Length > 0)
            sleepers.Release(threads.Length);
        foreach (Thread thread in threads)
            thread.Join();
        sleepers.Dispose();
    }

    private static void Invoke<TWork>(void* work, int part, int worker) where TWork : struct, IPoolWork =>
        Unsafe.AsRef<TWork>(work).Execute(part, worker);

    private void TakeParts(int worker)
    {
        try
        {
            for (int part; (part = Interlocked.Increment(ref shared.Next) - 1) < parts;)
                body(work, part, worker);
        }
#pragma warning disable CA1031 // Any exception: it is thrown again on the caller's thread.
        catch (Exception exception)
#pragma warning restore CA1031
        {
            Interlocked.CompareExchange(ref failure, exception, null);
            Volatile.Write(ref shared.Next, parts);
        }
    }

    private void Loop(int worker)
    {
        if (core >= 0)
            ThreadAffinity.Bind(core + worker);
        long seen = 0;
        int spins = 0;
        while (!stopped)
        {
            long gate = Volatile.Read(ref shared.Gate);
            if ((gate >> 32) != seen && (gate & Open) != 0)
            {
                // Entering is counted in the same word that the caller closes, so nobody enters a closed piece.
                if (Interlocked.CompareExchange(ref shared.Gate, gate + 1, gate) != gate)
                    continue;
                seen = gate >> 32;
                TakeParts(worker);
                Interlocked.Decrement(ref shared.Gate);
                spins = 0;
            }
            else if (++spins < SpinsBeforeSleep)
            {
                Thread.SpinWait(4);
            }
            else
            {
                Sleep(seen);
                spins = 0;
            }
        }
    }

    private void Sleep(long seen)
    {
        Interlocked.Increment(ref shared.Asleep);
        // A piece published before the increment was seen is found here; one published after it releases the semaphore.
        long gate = Volatile.Read(ref shared.Gate);
        if (!stopped && ((gate >> 32) == seen || (gate & Open) == 0))
            sleepers.Wait();
        Interlocked.Decrement(ref shared.Asleep);
    }

    // Words that several threads write lie on cache lines of their own.
    [StructLayout(LayoutKind.Explicit, Size = 512)]
    private struct Shared
    {
        [FieldOffset(128)] public long Gate; // generation << 32 | open << 31 | workers inside
        [FieldOffset(256)] public int Next;
        [FieldOffset(384)] public int Asleep;
    }
}
