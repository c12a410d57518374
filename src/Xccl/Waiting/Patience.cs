using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace XDeepServe.Xccl.Waiting;

/// <summary>
/// One wait: <c>while (!TryX()) patience.Step(rank);</c> and <c>patience.End()</c> in a finally block. A step spins, yields or
/// sleeps by the rank's strategy; from time to time it looks at the clock, the caller's token, and whether the peer still lives.
/// </summary>
/// <param name="group">The waiting rank.</param>
/// <param name="awaited">What for.</param>
/// <param name="eventId">The caller's name for it.</param>
/// <param name="timeout">How long at most.</param>
/// <param name="cancel">Ends the wait.</param>
internal struct Patience(Communicator group, Awaited awaited, uint eventId, TimeSpan timeout, CancellationToken cancel)
{
    private const int StepsPerLook = 1024;
    private const int SpinsBeforeYield = 200;
    private const int SpinsBeforeSleep = 60;
    private const int SleepMilliseconds = 20;
    private const int LongSleepMilliseconds = 250;
    private static readonly TimeSpan LifeInterval = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan LongWait = TimeSpan.FromSeconds(1);

    private int steps;
    private long started;
    private long lifeSeen;
    private ulong rings;
    private bool announced;
    private bool idle; // sleeps long already: looks around less often
    private PeerLostException? lost;

    /// <summary>Waits a little for a rank.</summary>
    /// <exception cref="PeerLostException">The rank has died or left.</exception>
    /// <exception cref="XcclTimeoutException">The time is over.</exception>
    /// <exception cref="OperationCanceledException">The caller's token says so.</exception>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Step(int rank)
    {
        if (++steps < SpinsBeforeSleep)
            Relax();
        else
            Slow(rank, rank);
    }

    /// <summary>Waits a little for a rank in an operation of the whole group, which any dead rank ends.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void StepOfAll(int rank)
    {
        if (++steps < SpinsBeforeSleep)
            Relax();
        else
            Slow(rank, -1);
    }

    /// <summary>Takes back what a sleeping wait has announced.</summary>
    public readonly void End()
    {
        if (announced)
            group.Bell.Withdraw();
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Slow(int rank, int watched)
    {
        if (group.Strategy == WaitStrategy.Block)
        {
            // First announced, then looked at again by the caller, and only then asleep.
            if (announced)
            {
                group.Bell.Sleep(rings, idle ? LongSleepMilliseconds : SleepMilliseconds);
                rings = group.Bell.Rings();
            }
            else
            {
                rings = group.Bell.Announce();
                announced = true;
            }
            Look(rank, watched);
            return;
        }
        if (group.Strategy == WaitStrategy.Yield && steps > SpinsBeforeYield)
            Thread.Yield();
        else
            Relax();
        if (steps < 2 * StepsPerLook)
            return;
        steps = StepsPerLook;
        Look(rank, watched);
    }

    private void Look(int rank, int watched)
    {
        if (lost is not null)
            throw lost;
        long now = Stopwatch.GetTimestamp();
        if (started == 0)
            started = lifeSeen = now;
        cancel.ThrowIfCancellationRequested();
        // Looking at every rank of a large group as often as at one would take the cores from those that work.
        if (Stopwatch.GetElapsedTime(lifeSeen, now) >= (watched < 0 ? LifeInterval * Math.Max(1, group.Ranks / 4) : LifeInterval))
        {
            lifeSeen = now;
            lost = group.FindLost(watched);
            // What the rank did before its end may have come after the caller's last look: it looks once more.
            if (lost is not null)
                steps = 2 * StepsPerLook;
        }
        TimeSpan waited = Stopwatch.GetElapsedTime(started, now);
        idle = lost is null && waited >= LongWait && timeout - waited >= LongWait;
        if (lost is null && waited >= timeout)
            throw new XcclTimeoutException(rank, eventId, timeout, awaited);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Relax()
    {
        if (X86Base.IsSupported)
            X86Base.Pause();
        else
            Thread.SpinWait(1);
    }
}
