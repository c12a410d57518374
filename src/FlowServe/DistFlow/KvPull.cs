using System.Diagnostics;
using XDeepServe.FlowServe.Tracing;

namespace XDeepServe.FlowServe.DistFlow;

/// <summary>One pull on its way: made by a DP group's thread, run by a link's, handed back through the group's completion queue.</summary>
internal sealed class KvPull(Sequence sequence, KvTicket ticket, int from, int to, Action<KvPull> ended)
{
    private volatile bool cancelled;

    public Sequence Sequence { get; } = sequence;

    public KvTicket Ticket { get; } = ticket;

    /// <summary>First position that is pulled.</summary>
    public int From { get; } = from;

    /// <summary>Behind the last.</summary>
    public int To { get; } = to;

    /// <summary>The sequence's blocks; they stay its until the pull has ended.</summary>
    public int[] Blocks { get; } = sequence.Blocks.ToArray();

    public long AskedAt { get; } = Stopwatch.GetTimestamp();

    public PullStatus Status { get; private set; }

    public bool Cancelled => cancelled;

    public void Cancel() => cancelled = true;

    public void End(PullStatus status)
    {
        Status = status;
        RequestTrace.Transfer(Sequence.Request, Ticket.Owner, AskedAt, To - From, status.ToString());
        ended(this);
    }
}
