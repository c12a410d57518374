using System.Diagnostics;
using System.Globalization;
using XDeepServe.Server;
using XDeepServe.Transformerless;

namespace XDeepServe.Cli.Service;

/// <summary>
/// A worker process: this program again, started anew when it ends. It holds its standard input open: however this process
/// ends, the worker's input ends with it, and so does the worker.
/// </summary>
internal sealed class WorkerProcess(WorkerSpec spec, IReadOnlyList<string> arguments, Action<string> say, Func<string, string, Task> exited, bool spare = false)
{
    private static readonly TimeSpan s_firstDelay = TimeSpan.FromMilliseconds(200), s_longestDelay = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_steady = TimeSpan.FromSeconds(30), s_stopPatience = TimeSpan.FromSeconds(8);
    private static readonly TimeSpan s_answerPatience = new ServerOptions().DrainTimeout + s_stopPatience; // of a front end, which has requests to answer

    private Process? current;
    private volatile bool retiring;

    /// <summary>What it is.</summary>
    public WorkerSpec Spec => spec;

    /// <summary>Times that it ended within a moment of its start, one behind the other.</summary>
    public int Failures { get; private set; }

    /// <summary>Whether it stands by, with the model loaded.</summary>
    public bool Spare { get; private set; } = spare;

    /// <summary>Whether it is about to end, and not to be started again.</summary>
    public bool Retiring => retiring;

    /// <summary>A worker that stands by is needed.</summary>
    public void Call()
    {
        Spare = false;
        Tell(input => input.WriteLine()); // if it has just ended, the next life of it is no spare
    }

    /// <summary>It is not to be started again.</summary>
    /// <param name="atOnce">Whether it ends now, or by itself.</param>
    public void Retire(bool atOnce)
    {
        retiring = true;
        if (atOnce)
            Tell(input => input.Close());
    }

    /// <summary>Whether the service was ready once.</summary>
    public bool Ready { get; set; }

    /// <summary>Keeps the worker running until it is asked to stop, then ends it.</summary>
    /// <param name="stop">Asks.</param>
    /// <param name="hurry">Cancelled to end a front end without waiting for its requests.</param>
    public async Task RunAsync(CancellationToken stop, CancellationToken hurry)
    {
        TimeSpan delay = s_firstDelay;
        bool mixed = spec.Role is WorkerRole.Attention or WorkerRole.Expert or WorkerRole.Rank, again = false;
        while (!stop.IsCancellationRequested && !retiring)
        {
            long start = Stopwatch.GetTimestamp();
            using Process process = Start(again && mixed ? ["--rejoin"] : []);
            (current, again) = (process, true);
            if (retiring)
                process.StandardInput.Close(); // it was asked to end while it started
            say($"{spec.Name}: process {process.Id.ToString(CultureInfo.InvariantCulture)}");
            Task output = Task.WhenAll(RelayAsync(process.StandardError), RelayAsync(process.StandardOutput));
            using (stop.Register(() => process.StandardInput.Close()))
            {
                await WaitAsync(process, stop, hurry);
            }
            await Task.WhenAny(output, Task.Delay(TimeSpan.FromSeconds(1), CancellationToken.None));
            current = null;
            if (stop.IsCancellationRequested)
                return;
            if (retiring)
            {
                say($"{spec.Name}: has ended");
                await exited(spec.Name, "it was not needed any more");
                return;
            }
            if (mixed && !Ready)
            {
                // The others wait for all to start together: there is nothing yet that a new one could come back into.
                Failures = int.MaxValue;
                say($"{spec.Name}: ended with status {process.ExitCode.ToString(CultureInfo.InvariantCulture)} before the service was ready");
                await exited(spec.Name, $"its process ended with status {process.ExitCode}");
                return;
            }
            bool steady = Stopwatch.GetElapsedTime(start) > s_steady;
            (Failures, delay) = steady ? (0, s_firstDelay) : (Failures + 1, delay);
            say($"{spec.Name}: ended with status {process.ExitCode.ToString(CultureInfo.InvariantCulture)}; it is started again in {delay.TotalSeconds.ToString("0.0", CultureInfo.InvariantCulture)} s");
            await exited(spec.Name, $"its process ended with status {process.ExitCode}");
            try
            {
                await Task.Delay(delay, stop);
            }
            catch (OperationCanceledException)
            {
                return;
            }
            delay = delay * 2 < s_longestDelay ? delay * 2 : s_longestDelay;
        }
    }

    private void Tell(Action<StreamWriter> tell)
    {
        try
        {
            if (current is { } process)
                tell(process.StandardInput);
        }
        catch (Exception ended) when (ended is IOException or InvalidOperationException)
        {
            // There is nobody left to be told.
        }
    }

    private async Task WaitAsync(Process process, CancellationToken stop, CancellationToken hurry)
    {
        try
        {
            await process.WaitForExitAsync(stop);
        }
        catch (OperationCanceledException)
        {
            // Its input has ended; it has a moment to leave the service.
            using CancellationTokenSource patience = new(spec.Role == WorkerRole.Frontend ? s_answerPatience : s_stopPatience);
            using CancellationTokenRegistration hurried = hurry.Register(() => patience.CancelAfter(s_stopPatience));
            try
            {
                await process.WaitForExitAsync(patience.Token);
            }
            catch (OperationCanceledException)
            {
                process.Kill();
                await process.WaitForExitAsync(CancellationToken.None);
            }
        }
    }

    private Process Start(IReadOnlyList<string> more)
    {
        // Under "dotnet xds.dll" the first argument is the program; the program's own file has none such.
        bool hosted = Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet";
        ProcessStartInfo start = new(Environment.ProcessPath!) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        if (hosted)
            start.ArgumentList.Add(Environment.GetCommandLineArgs()[0]);
        foreach (string argument in arguments.Concat(more))
            start.ArgumentList.Add(argument);
        if (Spare)
            start.ArgumentList.Add("--standby");
        return Process.Start(start) ?? throw new IOException($"{spec.Name} could not be started.");
    }

    private async Task RelayAsync(StreamReader lines)
    {
        while (await lines.ReadLineAsync() is { } line)
            say($"{spec.Name}: {line}");
    }
}
