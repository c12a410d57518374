using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using XDeepServe.Xccl;

namespace XDeepServe.FlowServe.DistFlow;

/// <summary>
/// The pulling end of a link: a thread that takes pulls in their order, asks the other Task Executor, and copies chunk by chunk into
/// the cache, from where the other side has put them.
/// </summary>
internal sealed class KvFetcher : IDisposable
{
    private const int Peer = 0;
    private readonly string owner;
    private readonly LinkOptions options;
    private readonly TransferMetrics metrics;
    private readonly BlockingCollection<Action<PointToPoint?, Copier?>> work = [];
    private readonly CancellationTokenSource stop = new();
    private readonly Thread thread;
    private volatile bool broken;

    /// <param name="owner">The Task Executor at the other end.</param>
    /// <param name="name">The link's name on this host; never used before.</param>
    /// <param name="options">Settings.</param>
    /// <param name="metrics">Counts.</param>
    /// <param name="invite">Asks the other Task Executor to come to a link of this name; called on the link's thread.</param>
    public KvFetcher(string owner, string name, LinkOptions options, TransferMetrics metrics, Func<string, string, CancellationToken, Task> invite)
    {
        (this.owner, this.options, this.metrics) = (owner, options, metrics);
        thread = new Thread(() => Run(name, invite)) { IsBackground = true, Name = $"kv-fetcher-{owner}" };
        thread.Start();
    }

    /// <summary>Whether the link has ended: another must be made.</summary>
    public bool Broken => broken;

    /// <summary>Queues a pull. False if the link has ended.</summary>
    public bool TryPull(KvPull pull, DpGroup group) => TryAdd((messages, copier) => Pull(messages, copier, pull, group));

    /// <summary>Tells the other end that nobody will come for a hold.</summary>
    public void Release(KvTicket ticket) => TryAdd((messages, _) =>
    {
        if (messages is not null)
            Ask(messages, new PullRequest { Kind = PullKind.Release, Number = ticket.Number, Group = (short)ticket.Group });
    });

    /// <summary>Sends a dummy and waits for its answer; it queues behind pulls.</summary>
    /// <returns>Seconds; null if the link has ended.</returns>
    public async Task<double?> ProbeAsync()
    {
        TaskCompletionSource<double?> done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        long asked = Stopwatch.GetTimestamp();
        bool added = TryAdd((messages, _) =>
        {
            try
            {
                if (messages is not null)
                {
                    Ask(messages, new PullRequest { Kind = PullKind.Probe });
                    ReceiveAnswer(messages);
                }
            }
            finally
            {
                done.TrySetResult(messages is null || broken ? null : Stopwatch.GetElapsedTime(asked).TotalSeconds);
            }
        });
        return added ? await done.Task.ConfigureAwait(false) : null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        stop.Cancel();
        if (Thread.CurrentThread != thread)
            thread.Join();
        stop.Dispose();
        work.Dispose();
    }

    private bool TryAdd(Action<PointToPoint?, Copier?> item)
    {
        try
        {
            return !broken && work.TryAdd(item);
        }
        catch (InvalidOperationException)
        {
            return false; // ended meanwhile
        }
    }

    private void Run(string name, Func<string, string, CancellationToken, Task> invite)
    {
        try
        {
            invite(owner, name, stop.Token).GetAwaiter().GetResult();
            using Communicator link = Communicator.Join(options.Group(name, rank: 1), stop.Token);
            using Copier copier = new(options);
            foreach (Action<PointToPoint?, Copier?> item in work.GetConsumingEnumerable(stop.Token))
                item(link.Messages, copier);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // The engine ends.
        }
#pragma warning disable CA1031 // Whatever ended the link, its pulls fail, which only costs computing; the cause is kept for the log.
        catch (Exception fault)
#pragma warning restore CA1031
        {
            metrics.LinkBroke($"{owner}: {fault.Message}");
        }
        broken = true;
        work.CompleteAdding();
        while (work.TryTake(out Action<PointToPoint?, Copier?>? item))
            item(null, null);
    }

    private void Pull(PointToPoint? messages, Copier? copier, KvPull pull, DpGroup group)
    {
        PullStatus status = PullStatus.Lost;
        try
        {
            if (pull.Cancelled)
            {
                status = PullStatus.Cancelled;
                if (messages is not null)
                    Ask(messages, new PullRequest { Kind = PullKind.Release, Number = pull.Ticket.Number, Group = (short)pull.Ticket.Group });
            }
            else if (messages is not null)
            {
                status = Fetch(messages, copier!, pull, group);
            }
        }
        finally
        {
            metrics.End(status, Stopwatch.GetElapsedTime(pull.AskedAt).TotalSeconds);
            pull.End(status);
        }
    }

    private unsafe PullStatus Fetch(PointToPoint messages, Copier copier, KvPull pull, DpGroup group)
    {
        KvPort port = group.Port;
        Ask(messages, new PullRequest
        {
            Kind = PullKind.Pull,
            Number = pull.Ticket.Number,
            Group = (short)pull.Ticket.Group,
            From = pull.From,
            To = pull.To,
            Fingerprint = port.Fingerprint,
        });
        PullAnswer answer = ReceiveAnswer(messages);
        if (answer.Status != PullStatus.Done)
            return answer.Status;
        copier.Enter(group);
        long total = (long)(pull.To - pull.From) * port.BytesPerPosition;
        for (long offset = 0; offset < total;)
        {
            ReadOnlySpan<byte> chunk = messages.Borrow(Peer, PullAnswer.ChunkEvent, options.Patience, stop.Token);
            int length = chunk.Length;
            if (length != Math.Min(answer.ChunkBytes, total - offset))
                throw new InvalidDataException($"{owner} sent {length} bytes at {offset} of {total}, in chunks of {answer.ChunkBytes}.");
            // A cancelled pull is followed to its end, so that the next one begins where it should; its blocks are left alone.
            if (!pull.Cancelled)
            {
                nint start = (nint)Unsafe.AsPointer(ref MemoryMarshal.GetReference(chunk)); // shared memory: it does not move
                long at = offset;
                copier.Begin(group, () => port.Write(pull.Blocks, pull.From, pull.To, at, new ReadOnlySpan<byte>((void*)start, length)));
                copier.Await();
            }
            messages.GiveBack(Peer);
            metrics.Received(length);
            offset += length;
        }
        return pull.Cancelled ? PullStatus.Cancelled : PullStatus.Done;
    }

    private void Ask(PointToPoint messages, PullRequest request) =>
        messages.SendBuffered(Peer, PullRequest.Event, MemoryMarshal.AsBytes(new ReadOnlySpan<PullRequest>(ref request)), options.Patience, stop.Token);

    private PullAnswer ReceiveAnswer(PointToPoint messages)
    {
        PullAnswer answer = default;
        messages.Receive(Peer, PullAnswer.Event, MemoryMarshal.AsBytes(new Span<PullAnswer>(ref answer)), options.Patience, stop.Token);
        return answer;
    }
}
