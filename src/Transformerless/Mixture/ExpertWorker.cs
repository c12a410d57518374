using System.Collections.Concurrent;
using System.Diagnostics;
using XDeepServe.Kernels;
using XDeepServe.Models;
using XDeepServe.Models.Loading;
using XDeepServe.Xccl.Tokens;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// A rank that has experts alone (paper §5.2): it receives rows of every domain, runs its experts on them and returns the answers,
/// in three streams that never come back to a scheduler. Batches are computed one at a time in the order of their arrival, so that
/// one domain has the experts while the others' rows wait in the exchange. What travels with rows says all that is needed of them.
/// </summary>
public sealed class ExpertWorker : IDisposable
{
    private readonly ConcurrentQueue<ExpertParcel> arrived = new(), computed = new();
    private readonly SemaphoreSlim arrivals = new(0), completions = new(0);
    private readonly ConcurrentQueue<Action> changes = new();
    private readonly List<ExpertLane> lanes = [];
    private readonly HeldExperts held;
    private readonly ExpertCompute compute;
    private readonly Thread computing, returning;
    private readonly TimeSpan lag;
    private PlacementBoard? board;
    private volatile Exception? broken;
    private volatile bool stopped;

    private ExpertWorker(HeldExperts held, ExpertCompute compute, TimeSpan lag)
    {
        (this.held, this.compute, this.lag) = (held, compute, lag);
        Times = new ExpertTimes { Alone = compute.Measure() };
        computing = new Thread(Compute) { IsBackground = true, Name = "expert-compute" };
        returning = new Thread(Return) { IsBackground = true, Name = "expert-return" };
    }

    /// <summary>What the streams take.</summary>
    public ExpertTimes Times { get; }

    /// <summary>Bytes of the experts' weights.</summary>
    public long WeightBytes => held.Shelf.WeightBytes;

    /// <summary>Epochs that have begun since the first, over all domains.</summary>
    public int Recoveries => lanes.Sum(lane => lane.Recoveries);

    /// <summary>Times that experts were loaded because a rank that had them died.</summary>
    public int Loads => held.Loads;

    /// <summary>Bytes of experts that came into slots since the first, for whatever reason.</summary>
    public long LoadedBytes => held.LoadedBytes;

    /// <summary>What ended a domain's lane; null while all run.</summary>
    public Exception? Failure => lanes.Select(lane => lane.Failure).FirstOrDefault(failure => failure is not null) ?? broken ?? board?.Failure;

    /// <summary>Loads this rank's experts, joins every domain and begins.</summary>
    /// <param name="checkpoint">The opened files; open until the worker is disposed.</param>
    /// <param name="backend">This rank's own; stays the caller's.</param>
    /// <param name="quantization">As in <see cref="ModelOptions"/>.</param>
    /// <param name="options">How ranks share experts.</param>
    /// <param name="split">Who is what.</param>
    /// <param name="member">This rank among those with experts.</param>
    /// <param name="mostRows">Most rows of an attention rank's step: its engine's MaxBatchedTokens.</param>
    public static ExpertWorker Join(Checkpoint checkpoint, Backend backend, ElementType? quantization, MixtureOptions options, SplitPlan split, int member, int mostRows)
    {
        var config = ModelConfig.Read(checkpoint.Config, checkpoint.GenerationConfig);
        options = options.For(config, split.Experts);
        ExpertLayout layout = ExpertLayout.Plain(config, split.Experts, options.Redundant, options.SharedApart);
        TokenShape shape = AttentionRank.ShapeFor(config, mostRows, options);
        HeldExperts held = new(checkpoint, backend, quantization, layout, member);
        ExpertWorker worker = new(held, new ExpertCompute(backend, held, shape, split.Attention * shape.MaxTokens), options.Lag);
        try
        {
            worker.board = new PlacementBoard(options, split.Everybody(layout), -1, member, null, held, worker.Times);
            for (int domain = 0; domain < split.Domains; domain++)
            {
                worker.lanes.Add(new ExpertLane(split.EpochOf(domain, layout), member, options, shape, worker.Deliver, worker.board));
            }
            worker.computing.Start();
            worker.returning.Start();
            foreach (ExpertLane lane in worker.lanes)
                lane.Start();
            worker.board.Start(worker.Post);
            return worker;
        }
        catch
        {
            foreach (ExpertLane lane in worker.lanes)
                lane.Dispose();
            worker.board?.Dispose();
            worker.compute.Dispose();
            throw;
        }
    }

    /// <summary>Leaves all domains.</summary>
    public void Dispose()
    {
        if (stopped)
            return;
        // First the lanes: while this rank answers, the others may not do without it.
        foreach (ExpertLane lane in lanes)
            lane.Dispose();
        board!.Dispose();
        stopped = true;
        arrivals.Release();
        completions.Release();
        computing.Join();
        returning.Join();
        compute.Dispose();
        arrivals.Dispose();
        completions.Dispose();
    }

    private void Deliver(ExpertParcel parcel)
    {
        Times.AddTravel(BatchNote.Age(parcel.Batch!.Note));
        parcel.ReceivedAt = Stopwatch.GetTimestamp();
        arrived.Enqueue(parcel);
        arrivals.Release();
    }

    /// <summary>Has the computing thread do something between two batches.</summary>
    private void Post(Action change)
    {
        changes.Enqueue(change);
        arrivals.Release();
    }

    private void Compute()
    {
        while (true)
        {
            arrivals.Wait();
            if (changes.TryDequeue(out Action? change))
            {
                change();
                continue;
            }
            if (!arrived.TryDequeue(out ExpertParcel? parcel))
            {
                if (stopped)
                    return;
                continue;
            }
            long begun = Stopwatch.GetTimestamp();
            if (!TryRun(parcel))
                continue;
            Times.AddCompute(parcel.ReceivedAt, begun, Stopwatch.GetTimestamp(), compute.Pairs);
            computed.Enqueue(parcel);
            completions.Release();
        }
    }

    private bool TryRun(ExpertParcel parcel)
    {
        try
        {
            if (board!.Failure is { } reason)
                throw new IOException($"This rank no longer agrees with the others on where experts are: {reason.Message}", reason);
            if (lag > TimeSpan.Zero)
                Thread.Sleep(lag);
            compute.Run(BatchNote.Layer(parcel.Batch!.Note), parcel.Batch, parcel.Received, parcel.Outputs);
            return true;
        }
#pragma warning disable CA1031 // Whatever it is, this rank's experts cannot be relied on: it leaves, and says why.
        catch (Exception failure)
#pragma warning restore CA1031
        {
            broken ??= failure;
            parcel.Busy = false;
            foreach (ExpertLane lane in lanes)
                lane.Stop();
            return false;
        }
    }

    private void Return()
    {
        while (true)
        {
            completions.Wait();
            if (!computed.TryDequeue(out ExpertParcel? parcel))
            {
                if (stopped)
                    return;
                continue;
            }
            long begun = Stopwatch.GetTimestamp();
            parcel.Lane.Return(parcel);
            Times.AddReturn(Stopwatch.GetTimestamp() - begun);
        }
    }
}
