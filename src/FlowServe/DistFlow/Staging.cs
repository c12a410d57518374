namespace XDeepServe.FlowServe.DistFlow;

/// <summary>
/// Two host buffers in turn between an executor and a link: while one is on the link, the executor's thread fills or empties
/// the other. Owned by one link's thread.
/// </summary>
internal sealed class Staging(int bytes, TimeSpan patience) : IDisposable
{
    private readonly byte[][] buffers = [GC.AllocateUninitializedArray<byte>(bytes, pinned: true), GC.AllocateUninitializedArray<byte>(bytes, pinned: true)];
    private readonly ManualResetEventSlim[] free = [new(true), new(true)];
    private readonly Exception?[] failures = new Exception?[2];

    /// <summary>Bytes of one buffer.</summary>
    public int Bytes => bytes;

    /// <summary>One of the two.</summary>
    public byte[] Buffer(int turn) => buffers[turn % 2];

    /// <summary>Has the executor's thread work on a buffer.</summary>
    public void Begin(int turn, DpGroup group, Action work)
    {
        int place = turn % 2;
        free[place].Reset();
        group.PostToExecutor(() =>
        {
            try
            {
                work();
            }
#pragma warning disable CA1031 // Told to the link's thread, which waits for it.
            catch (Exception failure)
#pragma warning restore CA1031
            {
                failures[place] = failure;
            }
            free[place].Set();
        });
    }

    /// <summary>Waits until the executor's thread is done with a buffer.</summary>
    /// <exception cref="TimeoutException">It took too long.</exception>
    public void Await(int turn)
    {
        int place = turn % 2;
        if (!free[place].Wait(patience))
            throw new TimeoutException($"The executor did not copy {bytes} bytes of its cache within {patience.TotalSeconds:F0} s.");
        if (failures[place] is { } failure)
        {
            failures[place] = null;
            throw new InvalidOperationException("The executor could not copy its cache.", failure);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Array.ForEach(free, one => one.Dispose());
}
