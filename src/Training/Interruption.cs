using System.Runtime.InteropServices;

namespace XDeepServe.Training;

/// <summary>
/// What asks a run to stop with a checkpoint: Ctrl-C, SIGTERM or, where a launcher holds this process's input, that input's end. A second signal ends the
/// process as it is.
/// </summary>
internal sealed class Interruption : IDisposable
{
    private readonly CancellationTokenSource stop = new();
    private readonly PosixSignalRegistration[] signals;

    /// <param name="untilEof">Whether the end of the input stops the run.</param>
    public Interruption(bool untilEof)
    {
        signals = [PosixSignalRegistration.Create(PosixSignal.SIGINT, Handle), PosixSignalRegistration.Create(PosixSignal.SIGTERM, Handle)];
        if (untilEof)
            _ = ListenAsync();
    }

    /// <summary>Cancelled by the first.</summary>
    public CancellationToken Stop => stop.Token;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (PosixSignalRegistration signal in signals)
            signal.Dispose();
        stop.Dispose();
    }

    private void Handle(PosixSignalContext context)
    {
        context.Cancel = !stop.IsCancellationRequested;
        Ask();
    }

    private async Task ListenAsync()
    {
        using Stream input = Console.OpenStandardInput();
        await input.CopyToAsync(Stream.Null).ConfigureAwait(false);
        Ask();
    }

    private void Ask()
    {
        try
        {
            stop.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // The run is over: there is nothing left to stop.
        }
    }
}
