using System.Collections.Concurrent;

namespace XDeepServe.FlowServe.DistFlow;

/// <summary>Brings what a request's ticket names into a DP group's cache; its completion queue is polled by the group.</summary>
internal sealed class PullSupply(DistFlow flow, DpGroup group) : IKvSupply
{
    private readonly Dictionary<Sequence, KvPull> pulls = [];
    private readonly ConcurrentQueue<KvPull> completions = new();

    /// <inheritdoc/>
    public int Reach(Sequence sequence, int from)
    {
        if (sequence.Request.Ticket is not { } ticket || sequence.TicketUsed)
            return 0;
        if (ticket.Positions > from)
            return ticket.Positions;
        Drop(sequence); // this cache holds it all already
        return 0;
    }

    /// <inheritdoc/>
    public void Begin(Sequence sequence, int from, int to)
    {
        sequence.TicketUsed = true;
        KvPull pull = new(sequence, sequence.Request.Ticket!, from, to, Ended);
        pulls[sequence] = pull;
        flow.Pull(pull, group);
    }

    /// <inheritdoc/>
    public void Cancel(Sequence sequence) => pulls[sequence].Cancel();

    /// <inheritdoc/>
    public void Drop(Sequence sequence)
    {
        if (sequence.Request.Ticket is not { } ticket || sequence.TicketUsed)
            return;
        sequence.TicketUsed = true;
        flow.Release(ticket);
    }

    /// <inheritdoc/>
    public bool TryComplete(out Sequence sequence, out int computed)
    {
        if (!completions.TryDequeue(out KvPull? pull))
        {
            (sequence, computed) = (null!, 0);
            return false;
        }
        pulls.Remove(pull.Sequence);
        (sequence, computed) = (pull.Sequence, pull.Status == PullStatus.Done ? pull.To : 0);
        return true;
    }

    private void Ended(KvPull pull)
    {
        completions.Enqueue(pull);
        group.Wake();
    }
}
