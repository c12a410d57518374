using System.Diagnostics;
using System.Runtime.InteropServices;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Server.Control.Messages;

namespace XDeepServe.Server.Control.Grains;

/// <summary>What the cluster has seen of the workers of a role since it was first asked about them (paper §2.1, the autoscaler). Its grain's.</summary>
internal sealed class RoleLoad
{
    private readonly List<LoadSample> _samples = [];
    private readonly long _born = Stopwatch.GetTimestamp();
    private TimeSpan _longest = TimeSpan.FromMinutes(5);
    private TimeSpan? _changedAt;

    /// <summary>Looks at the workers of the role.</summary>
    public void Look(IReadOnlyCollection<ExecutorReport> reports)
    {
        TimeSpan now = Stopwatch.GetElapsedTime(_born);
        if (reports.Count > 0)
        {
            _samples.Add(new LoadSample(now, TimeSpan.FromMilliseconds(reports.Max(report => report.QueueTime)), reports.Average(report => report.KvUsage)));
        }
        _samples.RemoveAll(sample => now - sample.At > _longest);
    }

    /// <summary>Decides; what was decided counts as done.</summary>
    public ScaleDecision Decide(ScaleQuestion question)
    {
        _longest = (question.Settings.PatienceIn > question.Settings.PatienceOut ? question.Settings.PatienceIn : question.Settings.PatienceOut) + TimeSpan.FromSeconds(10);
        ScaleDecision decision = AutoscalePolicy.Decide(question.Settings, CollectionsMarshal.AsSpan(_samples), question.Workers, _changedAt);
        if (decision != ScaleDecision.Hold)
        {
            _changedAt = Stopwatch.GetElapsedTime(_born);
        }
        return decision;
    }
}
