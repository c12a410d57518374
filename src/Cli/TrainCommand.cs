using System.CommandLine;
using System.Diagnostics;
using System.Runtime.InteropServices;

namespace XDeepServe.Cli;

/// <summary>
/// Runs the trainer, <c>xds-train</c>: a program of its own, because its libraries (libtorch) are many times larger than all the rest. A publish
/// places it beside <c>xds</c>; in a source tree it lies where it was built. All arguments are its own.
/// </summary>
internal sealed class TrainCommand : Command
{
    /// <summary>What it is called on the command line.</summary>
    public const string Word = "train";

    private const string Program = "xds-train";

    // The arguments are handed over before they are parsed, so that --help is the trainer's.
    public TrainCommand() : base("train", "Trains language models and reward models: pretrain, sft, bt, gram-pretrain, gram, lrhp, dpo.") => TreatUnmatchedTokensAsErrors = false;

    /// <summary>Runs the trainer to its end.</summary>
    /// <returns>Its exit status.</returns>
    /// <exception cref="FileNotFoundException">It is not there; says what to do.</exception>
    public static async Task<int> RunAsync(IEnumerable<string> arguments)
    {
        string program = Places().FirstOrDefault(File.Exists)
            ?? throw new FileNotFoundException($"The trainer is not there. In a source tree build it: dotnet build -c Release src/Training. Elsewhere put {Program}'s publish into a folder 'train' beside xds.");
        // The trainer stops with a checkpoint when its input ends: however this process ends, none is left behind.
        ProcessStartInfo start = new(program, ["--until-eof", .. arguments]) { UseShellExecute = false, RedirectStandardInput = true };
        using Process process = Process.Start(start)!;
        // A terminal's Ctrl-C reaches the trainer itself: what is left to do here is to wait for it.
        using PosixSignalRegistration pressed = PosixSignalRegistration.Create(PosixSignal.SIGINT, signal => signal.Cancel = true);
        using PosixSignalRegistration ended = PosixSignalRegistration.Create(PosixSignal.SIGTERM, signal =>
        {
            signal.Cancel = true;
            process.StandardInput.Close();
        });
        await process.WaitForExitAsync(CancellationToken.None);
        return process.ExitCode;
    }

    private static IEnumerable<string> Places()
    {
        string beside = AppContext.BaseDirectory;
        yield return Path.Combine(beside, Program);
        yield return Path.Combine(beside, Word, Program);
        for (DirectoryInfo? folder = new(beside); folder is not null; folder = folder.Parent)
            yield return Path.Combine(folder.FullName, "src", "Training", "bin", "Release", "net10.0", Program);
    }
}
