using System.CommandLine;
using XDeepServe.Cli.Bench;

namespace XDeepServe.Cli;

/// <summary>The command line: argv and environment are read here and nowhere else.</summary>
internal static class Program
{
    private static async Task<int> Main(string[] arguments)
    {
        RootCommand root = new("Serves large language models from .NET.")
        {
            new ServeCommand(), new ChatCommand(), new GenerateCommand(), new InfoCommand(), new ConvertCommand(),
            new Command("bench", "Measures the server and the engine.") { new BenchServeCommand(), new BenchLatencyCommand(), new BenchKernelsCommand() },
        };
        try
        {
            InvocationConfiguration configuration = new() { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null };
            return await root.Parse(arguments).InvokeAsync(configuration);
        }
        catch (Exception failure) when (Complaint.Of(failure) is { } text)
        {
            await Console.Error.WriteLineAsync($"xds: {text}");
            return 1;
        }
    }
}
