using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.FlowServe.Tiers;

/// <summary>
/// Whether to load keys and values or to compute them again: whatever is predicted to take less time. All of it is learned from
/// measurements; a wrong guess is forgotten slowly, so that a tier is tried again. Touches no tensor. One thread.
/// </summary>
/// <param name="stepTokens">Most tokens of a step.</param>
/// <param name="prefill">Learns what computing costs.</param>
public sealed class TierCostModel(int stepTokens, PrefillCostModel prefill)
{
    private const double PriorBytes = 8 << 20, PriorWait = 300e-6, Weight = .1, Forgetting = .98;
    private Rate host = new(4e9), disk = new(500e6);
    private double wait = PriorWait;
    private double step = 1e-3;

    /// <summary>Bytes a second between device and host memory.</summary>
    public double HostRate => host.Value;

    /// <summary>Bytes a second from disk.</summary>
    public double DiskRate => disk.Value;

    /// <summary>Seconds that a load takes beside copying: turns of the threads, other steps in between.</summary>
    public double Wait => wait;

    /// <summary>Seconds of a usual step.</summary>
    public double Step => step;

    /// <summary>Learns from a copy between device and host memory.</summary>
    public void ObserveHost(long bytes, double seconds) => host.Observe(bytes, seconds);

    /// <summary>Learns from a read.</summary>
    public void ObserveDisk(long bytes, double seconds) => disk.Observe(bytes, seconds);

    /// <summary>Learns from a whole load: what it took beside copying.</summary>
    public void ObserveWait(double seconds) => wait += Weight * (Math.Max(0, seconds) - wait);

    /// <summary>Learns how long a step takes.</summary>
    public void ObserveStep(double seconds) => step += Weight * (seconds - step);

    /// <summary>Predicted seconds to compute positions <paramref name="from"/> to <paramref name="to"/>.</summary>
    public double Compute(int from, int to) => prefill.Cost.Seconds(to - from, PrefillCost.Pairs(from, to - from), stepTokens);

    /// <summary>Predicted seconds to load.</summary>
    /// <param name="hostBytes">Bytes that lie in host memory.</param>
    /// <param name="diskBytes">Bytes that lie on disk; they pass through host memory.</param>
    public double Load(long hostBytes, long diskBytes) => wait + (hostBytes + diskBytes) / host.Value + diskBytes / disk.Value;

    /// <summary>Something was found and not loaded: what speaks against loading counts a little less the next time.</summary>
    public void Decline()
    {
        wait = PriorWait + Forgetting * (wait - PriorWait);
        host.Forget();
        disk.Forget();
    }

    /// <summary>Bytes a second over the last while.</summary>
    private struct Rate(double prior)
    {
        private double bytes = PriorBytes, seconds = PriorBytes / prior;

        public readonly double Value => bytes / seconds;

        public void Observe(long more, double took)
        {
            if (more < 1 || !(took > 0))
                return;
            bytes += more;
            seconds += took;
            while (bytes > 16 * PriorBytes)
                (bytes, seconds) = (bytes / 2, seconds / 2);
        }

        public void Forget() =>
            (bytes, seconds) = (PriorBytes + Forgetting * (bytes - PriorBytes), PriorBytes / prior + Forgetting * (seconds - PriorBytes / prior));
    }
}
