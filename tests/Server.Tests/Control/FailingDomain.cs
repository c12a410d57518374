using XDeepServe.FlowServe;
using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.Server.Tests.Control;

/// <summary>A domain none of whose steps can be run.</summary>
internal sealed class FailingDomain(IOException reason) : IStepDomain, IDisposable
{
    private readonly AutoResetEvent _bell = new(false);

    public long DispatchedRows => 0;

    public MixtureMetrics Metrics { get; } = new();

    public int MicroBatches => 1;

    public bool WaitForPeers()
    {
        _bell.WaitOne();
        return false;
    }

    public void Wake() => _bell.Set();

    public bool Enter(int first, int second) => throw reason;

    public void Accompany() => throw reason;

    public void Recover(Exception failure) => throw failure;

    public void Dispose() => _bell.Dispose();
}
