using System.Runtime.InteropServices;
using XDeepServe.Xccl;

namespace XDeepServe.FlowServe.DistFlow;

/// <summary>
/// The holding end of a link: a thread that sleeps until the other Task Executor asks, then copies the blocks out chunk by chunk,
/// into two places of the link's app area in turn. The other side reads a chunk where it lies while the next is copied.
/// </summary>
internal sealed unsafe class KvServer : IDisposable
{
    private const int Peer = 1;
    private readonly LinkOptions options;
    private readonly IReadOnlyList<DpGroup> groups;
    private readonly TransferMetrics metrics;
    private readonly CancellationTokenSource stop = new();
    private readonly Thread thread;

    public KvServer(string name, LinkOptions options, IReadOnlyList<DpGroup> groups, TransferMetrics metrics, Action<KvServer> ended)
    {
        (this.options, this.groups, this.metrics) = (options, groups, metrics);
        thread = new Thread(() => Run(name, ended)) { IsBackground = true, Name = "kv-server" };
        thread.Start();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        stop.Cancel();
        if (Thread.CurrentThread != thread)
            thread.Join();
        stop.Dispose();
    }

    private void Run(string name, Action<KvServer> ended)
    {
        try
        {
            using Communicator link = Communicator.Join(options.Group(name, rank: 0), stop.Token);
            using Copier copier = new(options);
            PullRequest request = default;
            while (true)
            {
                link.Messages.Receive(Peer, PullRequest.Event, MemoryMarshal.AsBytes(new Span<PullRequest>(ref request)), TimeSpan.MaxValue, stop.Token);
                Answer(link, copier, request);
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // The engine ends.
        }
        catch (PeerLostException)
        {
            // The other Task Executor has gone; what it held a ticket for is freed when the lease ends.
        }
#pragma warning disable CA1031 // Whatever ended the link, the other side computes what it wanted; the cause is kept for the log.
        catch (Exception fault)
#pragma warning restore CA1031
        {
            metrics.LinkBroke($"{name}: {fault.Message}");
        }
        ended(this);
    }

    private void Answer(Communicator link, Copier copier, PullRequest request)
    {
        DpGroup? group = (uint)request.Group < (uint)groups.Count ? groups[request.Group] : null;
        if (request.Kind == PullKind.Release)
        {
            Free(group, request.Number);
            return;
        }
        KvHold? hold = request.Kind == PullKind.Pull ? group?.Holds.Find(request.Number) : null;
        PullAnswer answer = new() { ChunkBytes = options.ChunkBytes };
        if (request.Kind == PullKind.Probe)
            answer.Status = PullStatus.Done;
        else if (group is not null && request.Fingerprint != group.Port.Fingerprint)
            answer.Status = PullStatus.OtherLayout;
        else
            answer.Status = hold is not null && request.From >= 0 && request.From < request.To && request.To <= hold.Positions && hold.TryPin() ? PullStatus.Done : PullStatus.Gone;
        try
        {
            link.Messages.SendBuffered(Peer, PullAnswer.Event, MemoryMarshal.AsBytes(new ReadOnlySpan<PullAnswer>(ref answer)), options.Patience, stop.Token);
            if (hold is not null && answer.Status == PullStatus.Done)
                Send(link, copier, request, group!, [.. hold.Blocks]);
        }
        finally
        {
            if (hold is not null && answer.Status == PullStatus.Done)
            {
                hold.Unpin();
                Free(group, request.Number);
            }
        }
    }

    private void Send(Communicator link, Copier copier, PullRequest request, DpGroup group, int[] blocks)
    {
        PointToPoint messages = link.Messages;
        long total = (long)(request.To - request.From) * group.Port.BytesPerPosition;
        int chunks = (int)((total + options.ChunkBytes - 1) / options.ChunkBytes), lent = 0;
        copier.Enter(group);
        Copy(0);
        for (int chunk = 0; chunk < chunks; chunk++)
        {
            copier.Await();
            for (; lent > 0; lent--)
                messages.Complete(Peer, options.Patience, stop.Token); // the other place is free again
            // Posted messages are as many as are taken back above, so that there is always room.
            messages.TryPostLend(Peer, PullAnswer.ChunkEvent, Place(chunk), Length(chunk), 0);
            messages.DoWork();
            lent++;
            metrics.Sent(Length(chunk));
            if (chunk + 1 < chunks)
                Copy(chunk + 1);
        }
        messages.Complete(Peer, options.Patience, stop.Token);

        void Copy(int chunk) => copier.Begin(group, () =>
            group.Port.Read(blocks, request.From, request.To, (long)chunk * options.ChunkBytes, new Span<byte>((byte*)link.AppAddress + Place(chunk), Length(chunk))));

        long Place(int chunk) => (long)(chunk % 2) * options.ChunkBytes;

        int Length(int chunk) => (int)Math.Min(options.ChunkBytes, total - ((long)chunk * options.ChunkBytes));
    }

    private static void Free(DpGroup? group, long number) => group?.Post(() => group.Holds.Free(number));
}
