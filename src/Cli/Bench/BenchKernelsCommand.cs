using System.CommandLine;
using XDeepServe.Kernels;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Kernels.Cuda;

namespace XDeepServe.Cli.Bench;

/// <summary><c>xds bench kernels</c>: single operations beside what memory allows.</summary>
internal sealed class BenchKernelsCommand : Command
{
    private readonly Option<string> device = EngineFlags.DeviceFlag();
    private readonly Option<int> threads = new("--threads") { Description = "Threads that compute; 0 for all cores." };
    private readonly Option<int> rounds = new("--num-iters") { Description = "Rounds of each measurement; the median counts.", DefaultValueFactory = _ => 9 };

    public BenchKernelsCommand() : base("kernels", "Measures single operations.")
    {
        Options.Add(device);
        Options.Add(threads);
        Options.Add(rounds);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        if (EngineFlags.Gpu(result.GetValue(device)!) is { } ordinal)
        {
            using CudaBackend gpu = new(new CudaOptions(ordinal, ElementType.BF16, EngineFlags.KernelFolder, Console.Error.WriteLine));
            new CudaKernelBench(gpu, Math.Max(1, result.GetValue(rounds))).Run();
            return 0;
        }
        using CpuBackend backend = new(new CpuOptions(result.GetValue(threads)));
        using Arena arena = backend.CreateArena(1L << 30);
        new KernelBench(backend, arena, Math.Max(1, result.GetValue(rounds))).Run();
        return 0;
    }
}
