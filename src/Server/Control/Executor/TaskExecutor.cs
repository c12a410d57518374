using System.Collections.Concurrent;
using System.Diagnostics;
using Microsoft.Extensions.Logging;
using Orleans.Runtime;
using XDeepServe.FlowServe;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.FlowServe.DistFlow;
using XDeepServe.Server.Control.Grains;
using XDeepServe.Server.Control.Messages;
using XDeepServe.Server.Control.Weights;
using XDeepServe.Server.Metrics;

namespace XDeepServe.Server.Control.Executor;

/// <summary>
/// This process's Task Executor: an engine whose requests come from front ends elsewhere and whose output goes back to them.
/// Any thread. The engine stays the caller's.
/// </summary>
internal sealed class TaskExecutor
{
    private readonly TeShell _shell;
    private readonly DistFlow _flow;
    private readonly ModelShare _share;
    private readonly ServiceOptions _options;
    private readonly ILogger _log;
    private readonly ConcurrentDictionary<string, Outbox> _outboxes = new();
    private readonly Lock _doors = new(); // held to change _outboxes and _open together
    private readonly ConcurrentDictionary<(string FrontEnd, long Task), TaskOutput> _tasks = new();
    private readonly TaskCompletionSource<string?> _over = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Task _ping = Task.CompletedTask;
    private long _pingedAt, _messages;
    private volatile Outbox[] _open = []; // those of _outboxes, to be walked by every turn without a word to the collector
    private volatile bool _draining;

    /// <summary>A Task Executor. Its engine must call <see cref="Flush"/> when a DP group has turned.</summary>
    public TaskExecutor(ExecutorInfo info, TeShell shell, DistFlow flow, ModelShare share, ServiceOptions options, ILogger log) =>
        (Info, _shell, _flow, _share, _options, _log) = (info, shell, flow, share, options, log);

    /// <summary>What it is.</summary>
    public ExecutorInfo Info { get; }

    /// <summary>Ends when it was told to retire (null), or cannot go on: why.</summary>
    public Task<string?> Over => _over.Task;

    /// <summary>How it fares, without asking its DP groups.</summary>
    public ExecutorReport Report
    {
        get
        {
            IReadOnlyList<EngineMetrics> groups = _shell.Metrics;
            PrefillStatus prefill = _shell.Prefill;
            return new ExecutorReport
            {
                Requests = _shell.Unfinished,
                Waiting = groups.Sum(group => group.Waiting),
                Running = groups.Sum(group => group.Running),
                PromptTokens = groups.Sum(group => group.PromptTokens),
                GenerationTokens = groups.Sum(group => group.GenerationTokens),
                PrefixQueries = groups.Sum(group => group.PrefixQueries),
                PrefixHits = groups.Sum(group => group.PrefixHits),
                DraftTokens = groups.Sum(group => group.Speculation?.DraftTokens ?? 0),
                AcceptedTokens = groups.Sum(group => group.Speculation?.AcceptedTokens ?? 0),
                KvUsage = groups.Average(group => group.CacheUsage),
                GroupUsage = [.. groups.Select(group => group.CacheUsage)],
                Transfers = _flow.Metrics.Transfers,
                TransferBytes = _flow.Metrics.SentBytes + _flow.Metrics.ReceivedBytes,
                Draining = _draining,
                KvExpected = _shell.ExpectedUsage,
                Backlog = prefill.Backlog,
                Class = prefill.Class,
                Cost = prefill.Cost,
                PrefixVersion = _shell.PrefixChanges,
                QueueTime = _shell.QueueTime.TotalMilliseconds,
            };
        }
    }

    /// <summary>Which beginnings of prompts its caches hold.</summary>
    public PrefixRecord Prefixes
    {
        get
        {
            long version = _shell.PrefixChanges; // first: what changes meanwhile is told again
            return new PrefixRecord(version, _shell.SumUpPrefixes().Names);
        }
    }

    /// <summary>Takes a task in.</summary>
    public Admission Submit(long task, GenerationRequest request, IFrontEnd frontEnd, string frontEndId)
    {
        if (_draining)
        {
            return new Admission(AdmissionKind.Full, null, null);
        }
        if (!_outboxes.TryGetValue(frontEndId, out Outbox? outbox))
        {
            lock (_doors)
            {
                outbox = _outboxes.GetOrAdd(frontEndId, _ => new Outbox(frontEndId, frontEnd, this, _options.HeartbeatPatience, _log));
                _open = [.. _outboxes.Values];
            }
        }
        TaskOutput output = new(task, outbox, this);
        _tasks[(frontEndId, task)] = output;
        try
        {
            output.Submission = _shell.Submit(request, output);
        }
        catch (QueueFullException)
        {
            Forget(output);
            return new Admission(AdmissionKind.Full, null, null);
        }
        catch (InvalidRequestException invalid)
        {
            Forget(output);
            return new Admission(AdmissionKind.Invalid, invalid.Message, invalid.Param);
        }
        if (outbox.Closed || output.Aborted)
        {
            output.Abort();
        }
        return new Admission(AdmissionKind.Taken, null, null);
    }

    /// <summary>Ends a task.</summary>
    public void Abort(long task, string frontEndId)
    {
        if (_tasks.TryGetValue((frontEndId, task), out TaskOutput? output))
        {
            output.Abort();
        }
    }

    /// <summary>Ends those of a front end's tasks that have not begun.</summary>
    public void Withdraw(long[] tasks, string frontEndId)
    {
        foreach (long task in tasks)
        {
            if (_tasks.TryGetValue((frontEndId, task), out TaskOutput? output))
            {
                output.Withdraw();
            }
        }
    }

    /// <summary>Which of a front end's tasks are not here, with nothing on its way from them.</summary>
    public long[] Missing(long[] tasks, string frontEndId)
    {
        // In this order: what a task put out last is in the outbox before the task is forgotten.
        long[] missing = [.. tasks.Where(task => !_tasks.ContainsKey((frontEndId, task)))];
        return _outboxes.TryGetValue(frontEndId, out Outbox? outbox) && !outbox.IsEmpty ? [] : missing;
    }

    /// <summary>Frees what is held for a request that will not come for it.</summary>
    public void Free(KvTicket ticket) => _shell.Free(ticket.Group, ticket.Number);

    /// <summary>Comes to a link over which another Task Executor will pull keys and values.</summary>
    public void Link(string name) => _flow.Serve(name);

    /// <summary>Asks the DP groups' loops for an answer and tells how it fares.</summary>
    public async Task<ExecutorReport> ReportAsync()
    {
        // One question at a time: a loop that hangs finds one when it turns again, not a heap of them.
        Task ping = _ping;
        if (ping.IsCompleted)
        {
            _pingedAt = Stopwatch.GetTimestamp();
            _ping = ping = _shell.PingAsync();
        }
        await Task.WhenAny(ping, Task.Delay(_options.HeartbeatInterval)).ConfigureAwait(false);
        TimeSpan silence = ping.IsCompleted ? TimeSpan.Zero : Stopwatch.GetElapsedTime(_pingedAt);
        if (silence > _options.HangPatience)
        {
            _over.TrySetResult($"a DP group's loop did not turn for {silence.TotalSeconds:0} s");
        }
        return Report with { Silence = (int)silence.TotalMilliseconds };
    }

    /// <summary>What it has done, as Prometheus' text.</summary>
    public string Metrics(string prefix, string modelName)
    {
        PrometheusText text = new();
        new EngineText(text, prefix, modelName, ("worker", Info.Name), ("role", Info.Role.ToString().ToLowerInvariant())).Write(_shell);
        WorkerText.Write(text, Info, _flow.Metrics);
        return text.ToString();
    }

    /// <summary>Where the files of its model can be fetched.</summary>
    /// <exception cref="OrleansException">They are not there any more.</exception>
    public async Task<ModelOffer?> OfferAsync()
    {
        try
        {
            return await _share.OfferAsync().ConfigureAwait(false);
        }
        catch (IOException failure)
        {
            throw new OrleansException($"its files cannot be read: {failure.Message}");
        }
    }

    /// <summary>How its experts fare, as JSON; null if it shares none, or another tells it.</summary>
    public string? Experts => ExpertStatus.Of(_shell);

    /// <summary>Forgets cached prefixes.</summary>
    public Task<bool> ResetPrefixCacheAsync() => _shell.ResetPrefixCacheAsync();

    /// <summary>Takes no new requests; whoever runs the process ends it when those that run have ended.</summary>
    public void Retire()
    {
        _draining = true;
        _over.TrySetResult(null);
    }

    /// <summary>Waits for what it still has: requests, keys and values that others come for, output on its way.</summary>
    public async Task DrainAsync(TimeSpan patience)
    {
        _draining = true;
        long start = Stopwatch.GetTimestamp();
        await _shell.DrainAsync(patience).ConfigureAwait(false);
        while ((_shell.Metrics.Any(group => group.Held > 0) || Array.Exists(_open, outbox => !outbox.IsEmpty)) && Stopwatch.GetElapsedTime(start) < patience)
        {
            await Task.Delay(10).ConfigureAwait(false);
        }
    }

    /// <summary>A DP group has turned: what it put out is sent.</summary>
    public void Flush()
    {
        foreach (Outbox outbox in _open)
        {
            outbox.Flush();
        }
    }

    /// <summary>The next message's number. A front end that was out of reach for long gets another outbox, whose messages must not count as repetitions of the last one's.</summary>
    public long NextMessage() => Interlocked.Increment(ref _messages);

    /// <summary>A task has ended.</summary>
    public void Forget(TaskOutput output) => _tasks.TryRemove((output.Outbox.FrontEndId, output.Task), out _);

    /// <summary>A front end has gone: its tasks end.</summary>
    public void Close(Outbox outbox)
    {
        lock (_doors)
        {
            _outboxes.TryRemove(new KeyValuePair<string, Outbox>(outbox.FrontEndId, outbox));
            _open = [.. _outboxes.Values];
        }
        foreach ((_, TaskOutput output) in _tasks)
        {
            if (output.Outbox == outbox)
            {
                output.Abort();
            }
        }
    }
}
