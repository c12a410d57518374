using System.Diagnostics;
using System.Globalization;

namespace XDeepServe.Xccl.Tests.Dying;

/// <summary>A rank in a process of its own.</summary>
internal sealed class Victim : IDisposable
{
    private readonly Process process;

    public Victim(string scenario, string group, int rank)
    {
        ProcessStartInfo start = new(Environment.ProcessPath!.EndsWith("dotnet", StringComparison.Ordinal) ? Environment.ProcessPath : "dotnet")
        {
            RedirectStandardError = true,
        };
        foreach (string argument in (string[])["exec", typeof(Victim).Assembly.Location, "rank", scenario, group, rank.ToString(CultureInfo.InvariantCulture)])
            start.ArgumentList.Add(argument);
        process = Process.Start(start)!;
        process.ErrorDataReceived += (_, _) => { };
        process.BeginErrorReadLine();
    }

    /// <summary>Trials of each kind of death: a few, or as many as XCCL_KILL_TRIALS says.</summary>
    public static int Trials => int.TryParse(Environment.GetEnvironmentVariable("XCCL_KILL_TRIALS"), CultureInfo.InvariantCulture, out int trials) ? trials : 5;

    /// <summary>Ends it without a chance to say anything, as kill -9.</summary>
    public void Kill() => process.Kill();

    public void Dispose()
    {
        process.Kill();
        process.WaitForExit();
        process.Dispose();
    }
}
