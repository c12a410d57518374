using System.Collections.Concurrent;
using System.Diagnostics;

namespace XDeepServe.FlowServe.Tests.DistFlow;

/// <summary>The parent's end of a <see cref="ChildExecutor"/>.</summary>
internal sealed class Victim : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private readonly BlockingCollection<string[]> lines = [];
    private readonly Process process;

    public Victim(string name, Action<string>? linked = null)
    {
        ProcessStartInfo start = new(Environment.ProcessPath!.EndsWith("dotnet", StringComparison.Ordinal) ? Environment.ProcessPath : "dotnet")
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        foreach (string argument in (string[])["exec", typeof(Victim).Assembly.Location, "executor", name])
            start.ArgumentList.Add(argument);
        (Name, process) = (name, Process.Start(start)!);
        process.OutputDataReceived += (_, said) =>
        {
            if (said.Data?.Split(' ') is ["link", string link])
                linked?.Invoke(link);
            else if (said.Data is not null)
                lines.Add(said.Data.Split(' '));
        };
        process.BeginOutputReadLine();
        Assert.Equal(["ready"], Hear());
    }

    public string Name { get; }

    public string[] Hear() => lines.TryTake(out string[]? words, s_patience) ? words : throw new TimeoutException("The child says nothing.");

    public void Say(string line) => process.StandardInput.WriteLine(line);

    /// <summary>Ends it without a chance to say anything, as kill -9.</summary>
    public void Kill() => process.Kill();

    public void Dispose()
    {
        process.Kill();
        process.WaitForExit();
        process.Dispose();
        lines.Dispose();
    }
}
