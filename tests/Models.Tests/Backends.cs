using System.Runtime.Intrinsics.X86;
using XDeepServe.Kernels;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Kernels.Naive;

namespace XDeepServe.Models.Tests;

/// <summary>Backends by the names that theories use.</summary>
internal static class Backends
{
    /// <summary>All names.</summary>
    public static IReadOnlyList<string> All { get; } = ["naive", "avx512", "avx2", "portable"];

    /// <summary>Makes a backend; skips the test if this processor cannot run it.</summary>
    public static Backend Create(string name)
    {
        Assert.SkipUnless(name != "avx512" || Avx512BW.IsSupported, "this processor has no AVX-512");
        Assert.SkipUnless(name != "avx2" || Avx2.IsSupported, "this processor has no AVX2");
        return name switch
        {
            "naive" => new NaiveBackend(),
            "auto" => Cpu(CpuPath.Auto),
            "avx512" => Cpu(CpuPath.Avx512),
            "avx2" => Cpu(CpuPath.Avx2),
            "portable" => Cpu(CpuPath.Portable),
            _ => throw new ArgumentException($"There is no backend '{name}'."),
        };
    }

    // Not pinned: tests of several projects may share the machine.
    private static CpuBackend Cpu(CpuPath path) => new(new CpuOptions(Threads: 2, Path: path, PinThreads: false));
}
