using System.Runtime.InteropServices;

namespace XDeepServe.Cli;

/// <summary>Ctrl-C and SIGTERM: the first asks to stop, the second to hurry, the third ends the process.</summary>
internal sealed class Interruption : IDisposable
{
    private readonly bool launched;

    private readonly CancellationTokenSource stop = new(), hurry = new();
    private readonly PosixSignalRegistration[] signals;

    /// <param name="launched">A launcher ends this process: Ctrl-C, which a terminal sends to both, is the launcher's.</param>
    public Interruption(bool launched = false)
    {
        this.launched = launched;
        signals = [PosixSignalRegistration.Create(PosixSignal.SIGINT, Handle), PosixSignalRegistration.Create(PosixSignal.SIGTERM, Handle)];
    }

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
        if (launched && context.Signal == PosixSignal.SIGINT)
        {
            context.Cancel = true;
            return;
        }
        context.Cancel = !hurry.IsCancellationRequested;
        (stop.IsCancellationRequested ? hurry : stop).Cancel();
    }
}
