using XDeepServe.Xccl.Memory;

namespace XDeepServe.Xccl.Waiting;

/// <summary>
/// How a signal reaches a rank that may sleep. Two words in the sleeper's region: a count of rings, and how many sleep or are
/// about to. Both sides write one word and then read the other's, each behind a fence: without either fence both reads could
/// come first and the wake-up be lost.
/// </summary>
/// <param name="words">The sleeper's region.</param>
/// <param name="offset">Where the two words lie.</param>
/// <param name="sleeps">False where nobody ever sleeps: ringing then costs nothing.</param>
public readonly struct Doorbell<TWords>(TWords words, long offset, bool sleeps)
    where TWords : struct, IWords
{
    /// <summary>Wakes the rank if it sleeps. Called after what it waits for has been published.</summary>
    public void Ring()
    {
        if (!sleeps)
            return;
        words.Fence();
        if (words.Read(offset + 8) == 0)
            return;
        words.Add(offset, 1);
        words.Wake(offset);
    }

    /// <summary>Says that the caller is about to sleep. The caller then looks once more whether it has to.</summary>
    /// <returns>What to hand to <see cref="Sleep"/>.</returns>
    public ulong Announce()
    {
        words.Add(offset + 8, 1);
        return words.Read(offset);
    }

    /// <summary>The count of rings now; read before looking again and sleeping again.</summary>
    public ulong Rings() => words.Read(offset);

    /// <summary>Sleeps unless the bell has rung since <paramref name="seen"/>.</summary>
    public void Sleep(ulong seen, int milliseconds) => words.Sleep(offset, seen, milliseconds);

    /// <summary>Takes the announcement back.</summary>
    public void Withdraw() => words.Add(offset + 8, ulong.MaxValue);
}
