using XDeepServe.Kernels;
using XDeepServe.Kernels.Naive;

namespace XDeepServe.Models.Tests;

/// <summary>Backends by the names that theories use.</summary>
internal static class Backends
{
    public static Backend Create(string name) => name switch
    {
        "naive" => new NaiveBackend(),
        _ => throw new ArgumentException($"There is no backend '{name}'."),
    };
}
