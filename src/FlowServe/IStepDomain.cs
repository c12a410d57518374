using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.FlowServe;

/// <summary>
/// DP groups whose steps go hand in hand because their layers share experts: a group that has work begins a step, and all others
/// take part in it, with rows or without. Its group's executor thread calls everything but <see cref="Wake"/>.
/// </summary>
public interface IStepDomain
{
    /// <summary>(row, expert) pairs that this group has sent to experts. Any thread.</summary>
    long DispatchedRows { get; }

    /// <summary>What all ranks that share experts have done. Any thread.</summary>
    MixtureMetrics Metrics { get; }

    /// <summary>Sleeps until another group has begun a step, or <see cref="Wake"/> is called.</summary>
    /// <returns>True if another group has begun a step: <see cref="Accompany"/> takes part in it.</returns>
    bool WaitForPeers();

    /// <summary>Ends a wait for peers, because the group has got work. Any thread.</summary>
    void Wake();

    /// <summary>Micro-batches that the next step is to have where there are sequences enough: 1 or 2.</summary>
    int MicroBatches { get; }

    /// <summary>Begins a step, or takes part in one that has begun.</summary>
    /// <param name="first">Rows of this group's first micro-batch: all of them, if it has one.</param>
    /// <param name="second">Rows of its second.</param>
    /// <returns>Whether the step is run as two micro-batches by all groups; otherwise as one, whatever they asked for.</returns>
    bool Enter(int first, int second);

    /// <summary>Takes part in a step without any rows, from its beginning to its end.</summary>
    void Accompany();

    /// <summary>
    /// After any of the others has thrown, or the step itself has: finds together with those that are left. A step that was
    /// interrupted is then run again from its beginning; what it has written into the cache is written again.
    /// </summary>
    /// <param name="failure">What was thrown.</param>
    /// <exception cref="IOException">The step cannot be run; says why. A later one may be: <see cref="WaitForPeers"/> sleeps until then.</exception>
    void Recover(Exception failure);
}
