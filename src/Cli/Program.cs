using System.CommandLine;
using XDeepServe.Cli.Bench;
using XDeepServe.Cli.Reward;
using XDeepServe.Cli.Service;

namespace XDeepServe.Cli;

/// <summary>The command line: argv and environment are read here and nowhere else.</summary>
internal static class Program
{
    private static async Task<int> Main(string[] arguments)
    {
        RootCommand root = new("Serves large language models from .NET.")
        {
            new ServeCommand(), new WorkerCommand(), new ChatCommand(), new GenerateCommand(), new InfoCommand(), new ConvertCommand(),
            new TokenizeCommand(), new RenderCommand(),
            new ScoreCommand(), new RankCommand(), new BestOfNCommand(), new EvalCommand(), new TrainCommand(), new SelectCommand(), new RepresentCommand(), new MarginCommand(), new ProjectCommand(), new ScenesCommand(),
            new Command("bench", "Measures the server and the engine.") {
                new BenchServeCommand(),
                new BenchLatencyCommand(),
                new BenchKernelsCommand(),
                new BenchPerplexityCommand(),
                new BenchXcclCommand(),
                new BenchTransferCommand(),
                new BenchTokenizerCommand(),
                new BenchInterferenceCommand(),
                new BenchControlCommand(),
                new BenchStormCommand(),
                new BenchBalanceCommand(),
                new BenchExpertsCommand(),
                new BenchSpeculationCommand(),
                new BenchScoreCommand(),
            },
        };
        try
        {
            if (arguments is [TrainCommand.Word, .. var own])
                return await TrainCommand.RunAsync(own);
            InvocationConfiguration configuration = new() { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null };
            return await root.Parse(arguments).InvokeAsync(configuration);
        }
        catch (Exception failure) when (Complaint.Of(failure) is { } text)
        {
            await Console.Error.WriteLineAsync($"xds: {text}");
            return 1;
        }
#pragma warning disable CA1031 // The last stop: what comes here is a defect, told in one line unless asked for more.
        catch (Exception defect)
#pragma warning restore CA1031
        {
            bool trace = Environment.GetEnvironmentVariable("XDS_TRACE") is { Length: > 0 };
            await Console.Error.WriteLineAsync($"xds: internal error: {(trace ? defect : $"{defect.GetType().Name}: {defect.Message}")}{(trace ? "" : " (set XDS_TRACE=1 for details)")}");
            return 70;
        }
    }
}
