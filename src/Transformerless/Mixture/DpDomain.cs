using System.Runtime.InteropServices;
using XDeepServe.FlowServe;
using XDeepServe.Kernels;
using XDeepServe.Xccl;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// The DP groups that talk to the experts together (paper §5.2), as one of them sees it. Groups enter each step through an
/// all-gather of their row counts; one without work sleeps until it gets some or another has entered. When a rank dies, the
/// survivors meet in the next epoch. Stays with the executor's thread, <see cref="Wake"/> excepted.
/// </summary>
internal sealed class DpDomain : IStepDomain, IDisposable
{
    private readonly Lock wakes = new(); // held for a ring of the bell, or while the group changes
    private readonly ExpertExchange exchange;
    private readonly Backend backend;
    private readonly int member;
    private readonly Func<EpochGroup, ExchangeRoute> connect;
    private readonly Action<MixtureEpoch> prepare;
    private EpochGroup place;
    private Collectives? steps; // null once this group stands alone
    private int[] counts; // [attention ranks]

    /// <summary>Sets the domain up.</summary>
    /// <param name="place">The first epoch's group; the domain's from here on.</param>
    /// <param name="member">This member with attention.</param>
    /// <param name="exchange">The way to the experts; stays the caller's.</param>
    /// <param name="backend">This rank's; stays the caller's.</param>
    /// <param name="connect">Makes the way over a group.</param>
    /// <param name="prepare">Loads what an epoch asks of this rank.</param>
    public DpDomain(
        EpochGroup place, int member, ExpertExchange exchange, Backend backend, Func<EpochGroup, ExchangeRoute> connect, Action<MixtureEpoch> prepare)
    {
        (this.place, this.member, this.exchange, this.backend, this.connect, this.prepare) = (place, member, exchange, backend, connect, prepare);
        (steps, counts) = Open(place);
    }

    /// <summary>Steps taken together.</summary>
    public long Steps { get; private set; }

    /// <summary>Steps of others in which this group had no rows.</summary>
    public long EmptySteps { get; private set; }

    /// <summary>Epochs that have begun since the first.</summary>
    public int Recoveries { get; private set; }

    /// <summary>Who takes part now.</summary>
    public MixtureEpoch Epoch => place.Epoch;

    /// <inheritdoc/>
    public bool WaitForPeers() => steps!.WaitForPeer();

    /// <inheritdoc/>
    public void Wake()
    {
        lock (wakes)
            steps?.Wake();
    }

    /// <inheritdoc/>
    public void Enter(int rows)
    {
        steps!.AllGather(MemoryMarshal.AsBytes(new ReadOnlySpan<int>(ref rows)), MemoryMarshal.AsBytes(counts.AsSpan()));
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
        for (int layer = 0; layer < exchange.Layout.Layers.Count; layer++)
        {
            exchange.Begin(backend, layer, default, default, default);
            exchange.End(backend, default, default);
        }
    }

    /// <inheritdoc/>
    public bool TryRecover(Exception failure)
    {
        if (failure is not PeerLostException || place.JoinNext(epoch => epoch.RankOfAttention(member), prepare) is not { } next)
        {
            // Whoever cannot go on leaves, so that the others need not wait for it.
            lock (wakes)
                steps = null;
            place.Dispose();
            return false;
        }
        EpochGroup old = place;
        lock (wakes)
        {
            place = next;
            (steps, counts) = Open(next);
        }
        old.Dispose();
        Recoveries++;
        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (wakes)
            steps = null;
        place.Dispose();
    }

    private (Collectives Steps, int[] Counts) Open(EpochGroup joined)
    {
        exchange.Connect(connect(joined), joined.Epoch.Layout);
        int ranks = joined.Epoch.Attention.Count;
        return (joined.Group.Collectives.Among([.. Enumerable.Range(0, ranks)]), new int[ranks]);
    }
}
