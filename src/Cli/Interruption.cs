using System.Runtime.InteropServices;

namespace XDeepServe.Cli;

/// <summary>Ctrl-C and SIGTERM: the first asks to stop, the second to hurry, the third ends the process.</summary>
internal sealed class Interruption : IDisposable
{
    private readonly CancellationTokenSource stop = new(), hurry = new();
    private readonly PosixSignalRegistration[] signals;

    public Interruption() => signals = [PosixSignalRegistration.Create(PosixSignal.SIGINT, Handle), PosixSignalRegistration.Create(PosixSignal.SIGTERM, Handle)];

    /// <summary>Cancelled by the first.</summary>
    public CancellationToken Stop => stop.Token;

    /// <summary>Cancelled by the second.</summary>
    public CancellationToken Hurry => hurry.Token;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (PosixSignalRegistration signal in signals)
            signal.Dispose();
        stop.Dispose();
        hurry.Dispose();
    }

    private void Handle(PosixSignalContext context)
    {
        context.Cancel = !hurry.IsCancellationRequested;
        (stop.IsCancellationRequested ? hurry : stop).Cancel();
    }
}
