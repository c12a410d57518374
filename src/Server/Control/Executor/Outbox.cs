using Microsoft.Extensions.Logging;
using XDeepServe.Server.Control.Grains;
using XDeepServe.Server.Control.Messages;

namespace XDeepServe.Server.Control.Executor;

/// <summary>
/// Output on its way to one front end (the paper's output shortcut, §4.2). DP groups add to it and flush it when they have
/// turned; a message is sent when the last one was answered, so that a slow front end gets fewer and larger ones and no order is
/// lost. A front end that cannot be reached for long has gone: its tasks are aborted.
/// </summary>
internal sealed class Outbox(string frontEndId, IFrontEnd frontEnd, TaskExecutor executor, TimeSpan patience, ILogger log) : IThreadPoolWorkItem
{
    private static readonly TimeSpan s_retryInterval = TimeSpan.FromMilliseconds(200);
    private readonly Lock _gate = new(); // held to add a record or to swap the lists, never while anything is sent
    private List<OutputRecord> _filling = [], _sent = [];
    private bool _sending, _closed;

    /// <summary>Names the front end.</summary>
    public string FrontEndId => frontEndId;

    /// <summary>Whether the front end has gone.</summary>
    public bool Closed => Volatile.Read(ref _closed);

    /// <summary>Whether nothing is on its way.</summary>
    public bool IsEmpty
    {
        get
        {
            lock (_gate)
            {
                return !_sending && _filling.Count == 0;
            }
        }
    }

    /// <summary>Adds an event. Any thread.</summary>
    public void Add(in OutputRecord record)
    {
        lock (_gate)
        {
            if (!_closed)
            {
                _filling.Add(record);
            }
        }
    }

    /// <summary>Sends what was added, now or when the last message was answered. Any thread; does not wait.</summary>
    public void Flush()
    {
        lock (_gate)
        {
            if (_sending || _filling.Count == 0)
            {
                return;
            }
            _sending = true;
        }
        ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
    }

    void IThreadPoolWorkItem.Execute() => _ = SendAsync();

    private async Task SendAsync()
    {
        while (TrySwap(out OutputBatch? batch))
        {
            if (await DeliverAsync(batch))
            {
                continue;
            }
            lock (_gate)
            {
                _closed = true;
                _filling.Clear();
            }
            executor.Close(this);
            return;
        }
    }

    private bool TrySwap([System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out OutputBatch? batch)
    {
        lock (_gate)
        {
            batch = null;
            if (_filling.Count == 0)
            {
                return _sending = false;
            }
            _sent.Clear();
            (_filling, _sent) = (_sent, _filling);
            batch = new OutputBatch { Executor = executor.Info.Id, Number = executor.NextMessage(), Events = _sent, Report = executor.Report };
            return true;
        }
    }

    private async Task<bool> DeliverAsync(OutputBatch batch)
    {
        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                await frontEnd.Deliver(batch).ConfigureAwait(false);
                return true;
            }
            catch (Exception failure) when (Unreachable.Is(failure))
            {
                if (System.Diagnostics.Stopwatch.GetElapsedTime(start) > patience)
                {
                    log.LogWarning("Front end {FrontEnd} has gone ({Reason}); its requests are aborted.", frontEndId, failure.Message);
                    return false;
                }
            }
            // A repetition keeps its number, so that it counts once.
            await Task.Delay(s_retryInterval).ConfigureAwait(false);
        }
    }
}
