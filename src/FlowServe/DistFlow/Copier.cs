namespace XDeepServe.FlowServe.DistFlow;

/// <summary>
/// Has one link's copies between a cache and its own memory made: by the link's thread where any thread may (<see cref="KvPort.AnyThread"/>), so that no step waits
/// for them, else by the executor's thread between steps. One copy at a time.
/// </summary>
internal sealed class Copier(LinkOptions options) : IDisposable
{
    private readonly ManualResetEventSlim done = new(true);
    private Exception? failure;

    /// <summary>Before the first copy of a transfer: returns when no step is under way that was planned before.</summary>
    public void Enter(DpGroup group)
    {
        if (!Here(group))
            return;
        Post(group, static () => { });
        Await();
    }

    /// <summary>Starts a copy; it is the only one until <see cref="Await"/> has returned.</summary>
    public void Begin(DpGroup group, Action copy)
    {
        if (Here(group))
            copy();
        else
            Post(group, copy);
    }

    /// <summary>
    /// Waits for the copy. Returns or throws only when the executor's thread has let go of blocks and memory, however long that
    /// takes: they may be used for something else then.
    /// </summary>
    /// <exception cref="TimeoutException">It took too long.</exception>
    /// <exception cref="InvalidOperationException">The copy failed.</exception>
    public void Await()
    {
        bool late = !done.Wait(options.Patience);
        done.Wait();
        if (Interlocked.Exchange(ref failure, null) is { } fault)
            throw new InvalidOperationException("The executor could not copy its cache.", fault);
        if (late)
            throw new TimeoutException($"The executor came to no copy of its cache within {options.Patience.TotalSeconds:F0} s.");
    }

    /// <inheritdoc/>
    public void Dispose() => done.Dispose();

    private bool Here(DpGroup group) => group.Port.AnyThread && !options.CopyBetweenSteps;

    private void Post(DpGroup group, Action copy)
    {
        done.Reset();
        group.PostToExecutor(() =>
        {
            try
            {
                copy();
            }
#pragma warning disable CA1031 // Told to the link's thread, which waits for it.
            catch (Exception fault)
#pragma warning restore CA1031
            {
                failure = fault;
            }
            done.Set();
        });
    }
}
