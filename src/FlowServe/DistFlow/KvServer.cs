using System.Runtime.InteropServices;
using XDeepServe.Xccl;

namespace XDeepServe.FlowServe.DistFlow;

/// <summary>
/// The holding end of a link: a thread that sleeps until the other Task Executor asks, then has the executor copy the blocks out
/// chunk by chunk and sends each while the next is copied.
/// </summary>
internal sealed class KvServer : IDisposable
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
            using Staging staging = new(options.ChunkBytes, options.Patience);
            PullRequest request = default;
            while (true)
            {
                link.Messages.Receive(Peer, PullRequest.Event, MemoryMarshal.AsBytes(new Span<PullRequest>(ref request)), TimeSpan.MaxValue, stop.Token);
                Answer(link.Messages, staging, request);
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
        catch (Exception broken) when (broken is XcclException or IOException or TimeoutException)
        {
            metrics.LinkBroke(broken.Message);
        }
        ended(this);
    }

    private void Answer(PointToPoint messages, Staging staging, PullRequest request)
    {
        DpGroup? group = (uint)request.Group < (uint)groups.Count ? groups[request.Group] : null;
        if (request.Kind == PullKind.Release)
        {
            Free(group, request.Number);
            return;
        }
        KvHold? hold = request.Kind == PullKind.Pull ? group?.Holds.Find(request.Number) : null;
        PullAnswer answer = new() { ChunkPositions = group is null ? 0 : Math.Max(1, staging.Bytes / group.Port.BytesPerPosition) };
        if (request.Kind == PullKind.Probe)
            answer.Status = PullStatus.Done;
        else if (group is not null && request.Fingerprint != group.Port.Fingerprint)
            answer.Status = PullStatus.OtherLayout;
        else
            answer.Status = hold is not null && request.From >= 0 && request.From < request.To && request.To <= hold.Positions && hold.TryPin() ? PullStatus.Done : PullStatus.Gone;
        messages.SendBuffered(Peer, PullAnswer.Event, MemoryMarshal.AsBytes(new ReadOnlySpan<PullAnswer>(ref answer)), options.Patience, stop.Token);
        if (request.Kind == PullKind.Probe || answer.Status != PullStatus.Done)
            return;
        try
        {
            Send(messages, staging, request, group!, [.. hold!.Blocks], answer.ChunkPositions);
        }
        finally
        {
            hold!.Unpin();
            Free(group, request.Number);
        }
    }

    private void Send(PointToPoint messages, Staging staging, PullRequest request, DpGroup group, int[] blocks, int chunk)
    {
        int chunks = (request.To - request.From + chunk - 1) / chunk;
        try
        {
            Copy(0);
            for (int turn = 0; turn < chunks; turn++)
            {
                if (turn + 1 < chunks)
                    Copy(turn + 1);
                staging.Await(turn);
                messages.Send(Peer, PullAnswer.ChunkEvent, staging.Buffer(turn).AsSpan(0, Positions(turn) * group.Port.BytesPerPosition), options.Patience, stop.Token);
                metrics.Sent(Positions(turn) * (long)group.Port.BytesPerPosition);
            }
        }
        finally
        {
            // Blocks may be freed, and buffers used again, only when the executor has let go of both.
            staging.Await(0);
            staging.Await(1);
        }

        void Copy(int turn)
        {
            int from = request.From + turn * chunk;
            staging.Begin(turn, group, () => group.Port.Read(blocks, from, from + Positions(turn), staging.Buffer(turn)));
        }

        int Positions(int turn) => Math.Min(chunk, request.To - request.From - turn * chunk);
    }

    private static void Free(DpGroup? group, long number) => group?.Post(() => group.Holds.Free(number));
}
