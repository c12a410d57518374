using System.Diagnostics;
using System.Globalization;

namespace XDeepServe.Cli.Bench;

/// <summary>The other ranks of a measurement: this program with the same arguments, and a rank.</summary>
internal sealed class RankProcesses : IDisposable
{
    private readonly List<Process> processes = [];

    /// <summary>Starts ranks 1 to <paramref name="ranks"/> - 1.</summary>
    public RankProcesses(int ranks, string group)
    {
        // Under "dotnet xds.dll" the first argument is the program; the program's own file has none such.
        string[] own = Environment.GetCommandLineArgs();
        bool hosted = Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet";
        for (int rank = 1; rank < ranks; rank++)
        {
            ProcessStartInfo start = new(Environment.ProcessPath!);
            foreach (string argument in own[(hosted ? 0 : 1)..])
                start.ArgumentList.Add(argument);
            foreach (string argument in (string[])["--rank", rank.ToString(CultureInfo.InvariantCulture), "--group", group])
                start.ArgumentList.Add(argument);
            processes.Add(Process.Start(start) ?? throw new IOException($"Rank {rank} could not be started."));
        }
    }

    public void Dispose()
    {
        foreach (Process process in processes)
        {
            if (!process.WaitForExit(TimeSpan.FromSeconds(10)))
                process.Kill();
            process.Dispose();
        }
    }
}
