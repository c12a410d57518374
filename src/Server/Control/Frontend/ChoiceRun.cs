using System.Diagnostics;
using XDeepServe.FlowServe;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.FlowServe.DistFlow;
using XDeepServe.Server.Control.Grains;
using XDeepServe.Server.Control.Messages;
using XDeepServe.Transformerless;

namespace XDeepServe.Server.Control.Frontend;

/// <summary>
/// One choice of a request on its way through Task Executors: a task that computes the prompt, one that goes on behind the first
/// token, and from the beginning if a Task Executor is lost, with the tokens that came before, so that the reader sees no break.
/// </summary>
internal sealed class ChoiceRun
{
    private readonly ClusterEngine _engine;
    private readonly GenerationRequest _request; // of one choice, with its stream
    private readonly Generation _generation;
    private readonly CancellationToken _aborted;
    private readonly int _choice;
    private readonly ulong[] _chain;
    private readonly Lock _gate = new(); // what comes in belongs to the task that is current
    private readonly List<int> _produced = [];
    private readonly List<string> _avoid = []; // refused or lost this one just now
    private readonly TaskCompletionSource _begun = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private CurrentTask? _task;
    private long _heardAt = Stopwatch.GetTimestamp();
    private bool _started;

    /// <summary>A choice that waits.</summary>
    /// <param name="engine">Its front end.</param>
    /// <param name="request">The request, for this choice alone.</param>
    /// <param name="choice">0 to n - 1.</param>
    /// <param name="generation">Where its output goes.</param>
    /// <param name="aborted">Cancelled when nobody reads the answer.</param>
    public ChoiceRun(ClusterEngine engine, GenerationRequest request, int choice, Generation generation, CancellationToken aborted)
    {
        (_engine, _request, _choice, _generation, _aborted) = (engine, request, choice, generation, aborted);
        _chain = PrefixChain.Of(request);
    }

    /// <summary>Ends when its first token has come, or it has ended.</summary>
    public Task Begun => _begun.Task;

    /// <summary>The Task Executor of a task that nothing was heard of for a while; null otherwise.</summary>
    public string? Quiet(TimeSpan patience)
    {
        lock (_gate)
        {
            return _task is { } task && Stopwatch.GetElapsedTime(_heardAt) > patience ? task.Executor : null;
        }
    }

    /// <summary>The Task Executor of a task that has not begun there, as far as is known here; null otherwise.</summary>
    public string? Waits
    {
        get
        {
            lock (_gate)
            {
                return _task is { Computed: false } task && !task.End.Task.IsCompleted ? task.Executor : null;
            }
        }
    }

    /// <summary>Runs it to its end.</summary>
    public async Task RunAsync()
    {
        int lost = 0;
        HoldRecord? hold = _request.Ticket is { } ticket ? new HoldRecord(ticket, []) : null; // a router has had its prompt computed
        try
        {
            while (true)
            {
                TaskEnd end = await RunTaskAsync(hold).ConfigureAwait(false);
                switch (end.Kind)
                {
                    case TaskEndKind.HandedOver when _request.HandOverAfter is not null:
                        // A router sees to what comes next; who does not come for it loses it with the lease.
                        _generation.Offer = new KvOffer(end.Hold!.Ticket, end.Hold.Blocks);
                        _generation.Push(new OutputEvent(_choice, -1, "", null, "length", null));
                        return;
                    case TaskEndKind.HandedOver:
                        hold = end.Hold;
                        _avoid.Clear();
                        continue;
                    case TaskEndKind.Withdrawn:
                        continue; // with what is held for it
                    case TaskEndKind.Lost when lost++ < _engine.Service.Retries:
                        _engine.CountRetry();
                        _engine.Free(hold);
                        hold = null;
                        continue;
                    case TaskEndKind.Lost:
                        Fail(new UnavailableException($"The request was given up after its Task Executors were lost {lost} times; the last time because {end.Reason}."));
                        break;
                    case TaskEndKind.Refused:
                        Fail(end.Refusal!);
                        break;
                    case TaskEndKind.Failed:
                        Fail(new UnavailableException(end.Reason!));
                        break;
                    case TaskEndKind.Aborted:
                        _generation.Push(new OutputEvent(_choice, -1, "", null, "abort", null));
                        break;
                }
                if (end.Kind != TaskEndKind.Finished)
                {
                    _engine.Free(hold);
                }
                return;
            }
        }
        finally
        {
            _begun.TrySetResult();
        }
    }

    /// <summary>Takes what a task put out; what comes from a task that is over is passed over.</summary>
    public void Take(in OutputRecord record)
    {
        lock (_gate)
        {
            if (_task is not { } task || task.Number != record.Task || task.End.Task.IsCompleted)
            {
                _engine.Free(record.Hold);
                return;
            }
            _heardAt = Stopwatch.GetTimestamp();
            if (record.Start is { } start)
            {
                // The first computes the prompt; what the others find in the cache tells nothing of it.
                if (!_started && _choice == 0)
                {
                    _generation.Start(start.Group, start.CachedTokens, start.PromptLogprobs);
                }
                _started = true;
                task.Compute();
                _engine.Free(task.Hold); // whatever was to be fetched has been
                return;
            }
            if (record.Failure is { } failure)
            {
                _generation.Fail(record.Unavailable ? new UnavailableException(failure) : new InvalidOperationException(failure));
                return;
            }
            if (record.Hold is { } hold)
            {
                task.End.TrySetResult(new TaskEnd(TaskEndKind.HandedOver, hold));
                return;
            }
            if (record.Finish == "withdrawn")
            {
                task.End.TrySetResult(new TaskEnd(TaskEndKind.Withdrawn));
                return;
            }
            if (record.Finish == "abort")
            {
                // Nobody here asked for that: its Task Executor is about to end.
                task.End.TrySetResult(new TaskEnd(TaskEndKind.Lost, Reason: "its Task Executor gave it up"));
                return;
            }
            if (record.Token >= 0)
            {
                _produced.Add(record.Token);
            }
            _generation.Push(new OutputEvent(_choice, record.Token, record.Text, record.Logprob, record.Finish, (object?)record.StopText ?? record.StopId, record.Values));
            if (record.Finish is not null)
            {
                task.End.TrySetResult(new TaskEnd(TaskEndKind.Finished));
            }
        }
        _begun.TrySetResult();
    }

    /// <summary>A Task Executor has gone.</summary>
    public void Lose(Departure departure)
    {
        lock (_gate)
        {
            if (_task is { } task && task.Executor == departure.Id)
            {
                task.End.TrySetResult(new TaskEnd(TaskEndKind.Lost, Reason: departure.Reason));
            }
        }
    }

    private async Task<TaskEnd> RunTaskAsync(HoldRecord? hold)
    {
        long start = Stopwatch.GetTimestamp();
        WorkerRole role = hold is null ? WorkerRole.Prefill : WorkerRole.Decode;
        while (!_aborted.IsCancellationRequested)
        {
            Task changed = _engine.View.Changed;
            int tokens = _request.Prompt.Length + _produced.Count;
            string? chosen = await PlaceAsync(new PlacementRequest(role, tokens, _chain, [.. _avoid])).ConfigureAwait(false);
            if (chosen is not null && _engine.View.Find(chosen) is { } executor)
            {
                if (await RunOnAsync(executor, hold, tokens).ConfigureAwait(false) is { } end)
                {
                    return end;
                }
                continue; // refused: another, if there is one
            }
            TimeSpan left = _engine.Service.PlacementPatience - Stopwatch.GetElapsedTime(start);
            if (left <= TimeSpan.Zero)
            {
                return new TaskEnd(TaskEndKind.Failed, Reason: $"No Task Executor could take the request ({role.ToString().ToLowerInvariant()}) within {_engine.Service.PlacementPatience.TotalSeconds:0} s; try again later.");
            }
            // Back-pressure: it waits here until somebody has room.
            _avoid.Clear();
            await WaitAsync(changed, left).ConfigureAwait(false);
        }
        return new TaskEnd(TaskEndKind.Aborted);
    }

    /// <summary>Asks for a Task Executor; null if there is none now, or nobody answers because somebody has gone in between.</summary>
    private async Task<string?> PlaceAsync(PlacementRequest request)
    {
        try
        {
            return await _engine.JobExecutor.Place(request).ConfigureAwait(false);
        }
        catch (Exception failure) when (Unreachable.Is(failure))
        {
            return null;
        }
    }

    /// <summary>Has a Task Executor do a task.</summary>
    /// <returns>How it ended; null if the Task Executor has no room.</returns>
    private async Task<TaskEnd?> RunOnAsync(SeenExecutor executor, HoldRecord? hold, int tokens)
    {
        ITaskExecutor grain = _engine.Executor(executor.Info.Id);
        CurrentTask task = new(_engine.NextTask(), executor, hold is null ? executor.Predict(tokens, _chain) : default, hold);
        lock (_gate)
        {
            _task = task;
            _heardAt = Stopwatch.GetTimestamp();
        }
        _engine.Register(task.Number, this);
        executor.Begin(tokens, task.Work);
        // Gone between being picked and here: nobody will tell any more.
        if (_engine.View.Find(task.Executor) is null)
        {
            task.End.TrySetResult(new TaskEnd(TaskEndKind.Lost, Reason: "it has gone"));
        }
        using CancellationTokenRegistration abort = _aborted.UnsafeRegister(static state => ((CurrentTask)state!).End.TrySetResult(new TaskEnd(TaskEndKind.Aborted)), task);
        TaskEnd? end = null;
        try
        {
            Task<Admission> submitted = grain.Submit(task.Number, RequestFor(executor.Info, hold), _engine.Reference, _engine.Id);
            // Output may come before the answer to Submit; and who is lost does not answer.
            await Task.WhenAny(submitted, task.End.Task).ConfigureAwait(false);
            if (submitted.IsCompleted)
            {
                Admission admission = await submitted.ConfigureAwait(false);
                if (admission.Kind == AdmissionKind.Full)
                {
                    _avoid.Add(task.Executor);
                    return null;
                }
                if (admission.Kind == AdmissionKind.Invalid)
                {
                    return end = new TaskEnd(TaskEndKind.Refused, Refusal: new InvalidRequestException(admission.Complaint!, admission.Param));
                }
            }
            else
            {
                Unreachable.Watch(submitted);
            }
            end = await task.End.Task.ConfigureAwait(false);
        }
        catch (Exception failure) when (Unreachable.Is(failure))
        {
            // Nothing came from it, so nothing was lost: another may take it, or this one, if it is still there in a moment.
            executor.Shun();
            end = task.End.Task.IsCompletedSuccessfully ? await task.End.Task.ConfigureAwait(false) : null;
            Unreachable.Watch(grain.Abort(task.Number, _engine.Id)); // it may have taken it after all
            return end;
        }
        finally
        {
            lock (_gate)
            {
                _task = null;
            }
            _engine.Unregister(task.Number);
            task.Compute();
            executor.End();
            _engine.View.Notify();
        }
        if (end.Kind is TaskEndKind.Lost or TaskEndKind.Aborted or TaskEndKind.Withdrawn)
        {
            _avoid.Add(task.Executor);
        }
        if (end.Kind is TaskEndKind.Lost or TaskEndKind.Aborted)
        {
            Unreachable.Watch(grain.Abort(task.Number, _engine.Id)); // it may live after all
        }
        return end;
    }

    private GenerationRequest RequestFor(ExecutorInfo executor, HoldRecord? hold)
    {
        lock (_gate)
        {
            return _request with
            {
                Produced = [.. _produced],
                HandOverAfter = _request.HandOverAfter ?? (executor.Role == WorkerRole.Prefill && _request.Readout is null ? 1 : null),
                Ticket = hold?.Ticket.Owner == executor.Id ? null : hold?.Ticket, // what it holds itself its cache finds
            };
        }
    }

    private async Task WaitAsync(Task changed, TimeSpan most)
    {
        try
        {
            await changed.WaitAsync(most < TimeSpan.FromSeconds(1) ? most : TimeSpan.FromSeconds(1), _aborted).ConfigureAwait(false);
        }
        catch (Exception over) when (over is TimeoutException or OperationCanceledException)
        {
            // The loop looks again at time and abort.
        }
    }

    private void Fail(Exception failure)
    {
        _generation.Fail(failure);
        _generation.Push(new OutputEvent(_choice, -1, "", null, "error", null));
    }

    private sealed class CurrentTask(long number, SeenExecutor executor, PromptWork work, HoldRecord? hold)
    {
        private int _computed;

        public long Number { get; } = number;

        public string Executor { get; } = executor.Info.Id;

        public PromptWork Work { get; } = work;

        public HoldRecord? Hold { get; } = hold;

        public TaskCompletionSource<TaskEnd> End { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        /// <summary>Whether its first token has come.</summary>
        public bool Computed => Volatile.Read(ref _computed) != 0;

        /// <summary>The prompt has been computed; counts once.</summary>
        public void Compute()
        {
            if (Interlocked.Exchange(ref _computed, 1) == 0)
            {
                executor.Computed(Work);
            }
        }
    }
}
