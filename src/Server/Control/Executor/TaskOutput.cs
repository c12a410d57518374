using XDeepServe.FlowServe;
using XDeepServe.FlowServe.DistFlow;
using XDeepServe.Server.Control.Messages;

namespace XDeepServe.Server.Control.Executor;

/// <summary>Takes the output of one task and puts it into its front end's outbox.</summary>
internal sealed class TaskOutput(long task, Outbox outbox, TaskExecutor executor) : IOutput
{
    private volatile bool _aborted;

    /// <summary>The front end's number of the task.</summary>
    public long Task => task;

    /// <summary>Where its output goes.</summary>
    public Outbox Outbox => outbox;

    /// <summary>The request within the engine; null until it was taken.</summary>
    public Submission? Submission { get; set; }

    /// <inheritdoc/>
    public bool Aborted => _aborted;

    /// <inheritdoc/>
    public void Start(int group, int cachedTokens, TokenLogprob?[]? promptLogprobs) =>
        outbox.Add(new OutputRecord { Task = task, Token = -1, Text = "", Start = new StartRecord(group, cachedTokens, promptLogprobs) });

    /// <inheritdoc/>
    public void Push(in OutputEvent item)
    {
        if (!_aborted)
        {
            Send(item);
        }
        if (item.Finish is not null)
        {
            executor.Forget(this);
        }
    }

    /// <inheritdoc/>
    public void Fail(Exception failure)
    {
        bool unavailable = failure is UnavailableException;
        outbox.Add(new OutputRecord { Task = task, Token = -1, Text = "", Failure = unavailable ? failure.Message : $"{failure.GetType().Name}: {failure.Message}", Unavailable = unavailable });
    }

    /// <inheritdoc/>
    public void HandOver(KvHold hold)
    {
        HoldRecord record = new(new KvTicket(executor.Info.Id, hold.Group, hold.Number, hold.Positions), [.. hold.Blocks]);
        if (_aborted)
        {
            executor.Free(record.Ticket); // nobody will come for it
        }
        else
        {
            outbox.Add(new OutputRecord { Task = task, Token = -1, Text = "", Hold = record });
        }
        executor.Forget(this);
    }

    /// <summary>Nothing more is wanted.</summary>
    public void Abort()
    {
        _aborted = true;
        Submission?.Abort();
    }

    /// <summary>Another Task Executor may take it, if it has not begun.</summary>
    public void Withdraw() => Submission?.Withdraw();

    private void Send(in OutputEvent item) =>
        outbox.Add(new OutputRecord
        {
            Task = task,
            Token = item.Token,
            Text = item.Text,
            Finish = item.Finish,
            StopText = item.Reason as string,
            StopId = item.Reason as int?,
            Logprob = item.Logprob,
            Values = item.Values,
        });
}
