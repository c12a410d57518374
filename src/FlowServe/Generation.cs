using System.Threading.Tasks.Sources;
using XDeepServe.FlowServe.DistFlow;

namespace XDeepServe.FlowServe;

/// <summary>
/// The output of one request, as it comes. Read by one reader; disposing it, or leaving the loop that reads it, aborts what is
/// not finished. The engine pushes tokens without waiting or allocating; the reader makes deltas of them.
/// </summary>
public sealed class Generation : IOutput, IAsyncEnumerable<OutputDelta>, IAsyncEnumerator<OutputDelta>, IDisposable, IThreadPoolWorkItem, IValueTaskSource<bool>
{
    private readonly Lock gate = new();
    private readonly Action<Generation> abort;
    private readonly int[] completionTokens;   // [choices]
    private readonly Queue<OutputDelta> ready = new();
    private ManualResetValueTaskSourceCore<bool> signal; // continues on the pool thread that Execute runs on
    private OutputEvent[] events = new OutputEvent[32], drained = new OutputEvent[32];
    private int eventCount, open;
    private bool waiting, disposed, enumerated, promptSent;
    private int cachedTokens;
    private TokenLogprob?[]? promptLogprobs;
    private CancellationTokenRegistration cancellation;

    /// <summary>The output of a request that somebody will push.</summary>
    /// <param name="request">The request.</param>
    /// <param name="abort">Called once, by any thread, if the reader leaves before the end.</param>
    public Generation(GenerationRequest request, Action<Generation> abort)
    {
        Request = request;
        this.abort = abort;
        open = request.Sampling.N;
        completionTokens = new int[request.Sampling.N];
    }

    /// <summary>The request.</summary>
    public GenerationRequest Request { get; }

    /// <inheritdoc/>
    public OutputDelta Current { get; private set; } = new();

    /// <inheritdoc/>
    public bool Aborted => Volatile.Read(ref disposed);

    /// <summary>What stopped the request, where its finish reason is error.</summary>
    public Exception? Failure { get; private set; }

    /// <summary>What is held for whoever goes on with the request, where it was to go on elsewhere (<see cref="GenerationRequest.HandOverAfter"/>) and did not end before; set before its end is pushed.</summary>
    public KvOffer? Offer { get; set; }

    /// <inheritdoc/>
    public IAsyncEnumerator<OutputDelta> GetAsyncEnumerator(CancellationToken cancellationToken = default)
    {
        if (enumerated)
            throw new InvalidOperationException("The output of a request can be read once.");
        enumerated = true;
        cancellation = cancellationToken.UnsafeRegister(static (state, _) => ((Generation)state!).Cancel(), this);
        return this;
    }

    /// <inheritdoc/>
    public ValueTask<bool> MoveNextAsync()
    {
        if (ready.TryDequeue(out OutputDelta? next))
        {
            Current = next;
            return new ValueTask<bool>(true);
        }
        lock (gate)
        {
            if (eventCount == 0)
            {
                if (open == 0 || disposed)
                {
                    cancellation.Token.ThrowIfCancellationRequested();
                    return new ValueTask<bool>(false);
                }
                waiting = true;
                signal.Reset();
                return Awaited(new ValueTask<bool>(this, signal.Version));
            }
            (events, drained) = (drained, events);
            Collect(eventCount);
            eventCount = 0;
        }
        Current = ready.Dequeue();
        return new ValueTask<bool>(true);
    }

    /// <summary>Aborts what is not finished.</summary>
    public void Dispose()
    {
        cancellation.Dispose();
        Cancel();
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        Dispose();
        return default;
    }

    void IThreadPoolWorkItem.Execute() => signal.SetResult(true);

    bool IValueTaskSource<bool>.GetResult(short token) => signal.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<bool>.GetStatus(short token) => signal.GetStatus(token);

    void IValueTaskSource<bool>.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        signal.OnCompleted(continuation, state, token, flags);

    /// <inheritdoc/>
    public void Start(int group, int cachedTokens, TokenLogprob?[]? promptLogprobs)
    {
        lock (gate)
            (this.cachedTokens, this.promptLogprobs) = (cachedTokens, promptLogprobs);
    }

    /// <inheritdoc/>
    public void Fail(Exception failure) => Failure ??= failure;

    /// <inheritdoc/>
    public void HandOver(KvHold hold) => throw new InvalidOperationException($"Request {Request.Id} was to go on elsewhere, but its output is read here.");

    /// <inheritdoc/>
    public void Push(in OutputEvent item)
    {
        lock (gate)
        {
            if (item.Finish is not null)
                open--;
            if (disposed)
                return;
            if (eventCount == events.Length)
                Array.Resize(ref events, 2 * eventCount);
            events[eventCount++] = item;
            Wake();
        }
    }

    private async ValueTask<bool> Awaited(ValueTask<bool> pushed)
    {
        await pushed.ConfigureAwait(false);
        return await MoveNextAsync().ConfigureAwait(false);
    }

    private void Cancel()
    {
        lock (gate)
        {
            if (disposed)
                return;
            disposed = true;
            if (open == 0)
                return;
            Wake();
        }
        abort(this);
    }

    private void Wake()
    {
        if (!waiting)
            return;
        waiting = false;
        ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
    }

    /// <summary>Joins neighbouring tokens of a choice into deltas.</summary>
    private void Collect(int count)
    {
        for (int start = 0; start < count;)
        {
            int end = start;
            while (end < count && drained[end].Choice == drained[start].Choice && (end == start || drained[end - 1].Finish is null))
                end++;
            ready.Enqueue(Join(drained.AsSpan(start, end - start)));
            start = end;
        }
        Array.Clear(drained, 0, count);
    }

    private OutputDelta Join(ReadOnlySpan<OutputEvent> run)
    {
        int choice = run[0].Choice;
        List<int> ids = new(run.Length);
        List<TokenLogprob>? logprobs = Request.Sampling.Logprobs is null ? null : new(run.Length);
        string text = run[0].Text;
        foreach (ref readonly OutputEvent item in run)
        {
            if (item.Token >= 0)
                ids.Add(item.Token);
            if (item.Logprob is not null)
                logprobs?.Add(item.Logprob);
        }
        for (int i = 1; i < run.Length; i++)
            text += run[i].Text;
        completionTokens[choice] += ids.Count;
        bool first = !promptSent && choice == 0;
        promptSent |= first;
        return new OutputDelta
        {
            Choice = choice,
            Text = text,
            TokenIds = ids,
            Logprobs = logprobs,
            PromptLogprobs = first ? promptLogprobs : null,
            Values = run[^1].Values,
            FinishReason = run[^1].Finish,
            StopReason = run[^1].Reason,
            PromptTokens = Request.Prompt.Length,
            CachedTokens = cachedTokens,
            CompletionTokens = completionTokens[choice],
        };
    }
}
