using System.Runtime.InteropServices;
using XDeepServe.FlowServe;
using XDeepServe.Kernels;
using XDeepServe.Xccl;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// The DP groups that talk to the experts together (paper §5.2), as one of them sees it. Groups enter each step through an
/// all-gather of their row counts; one without work sleeps until it gets some or another has entered. Stays with the executor's
/// thread, <see cref="Wake"/> excepted.
/// </summary>
internal sealed class DpDomain : IStepDomain
{
    private readonly Communicator group;
    private readonly ExpertExchange exchange;
    private readonly Backend backend;
    private readonly int[] counts; // [ranks]

    /// <summary>Sets the domain up.</summary>
    /// <param name="group">The domain's ranks and this one; stays the caller's.</param>
    /// <param name="exchange">The way to the experts; stays the caller's.</param>
    /// <param name="backend">This rank's.</param>
    public DpDomain(Communicator group, ExpertExchange exchange, Backend backend)
    {
        (this.group, this.exchange, this.backend) = (group, exchange, backend);
        counts = new int[group.Ranks];
    }

    /// <summary>Steps taken together.</summary>
    public long Steps { get; private set; }

    /// <summary>Steps of others in which this group had no rows.</summary>
    public long EmptySteps { get; private set; }

    /// <inheritdoc/>
    public bool WaitForPeers() => group.Collectives.WaitForPeer();

    /// <inheritdoc/>
    public void Wake() => group.Collectives.Wake();

    /// <inheritdoc/>
    public void Enter(int rows)
    {
        group.Collectives.AllGather(MemoryMarshal.AsBytes(new ReadOnlySpan<int>(ref rows)), MemoryMarshal.AsBytes(counts.AsSpan()));
        int most = 0;
        foreach (int count in counts)
            most = Math.Max(most, count);
        Steps++;
        exchange.Open((most + exchange.Shape.MaxTokens - 1) / exchange.Shape.MaxTokens, 0);
    }

    /// <inheritdoc/>
    public void Accompany()
    {
        Enter(0);
        EmptySteps++;
        for (int place = 0; place < exchange.Layout.Layers.Count; place++)
        {
            exchange.Begin(backend, place, default, default, default);
            exchange.End(backend, default, default);
        }
    }
}
