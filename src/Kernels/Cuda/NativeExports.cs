using System.Runtime.InteropServices;

namespace XDeepServe.Kernels.Cuda;

/// <summary>A native library that may be absent: opened by one of several names, its functions looked up by name.</summary>
internal sealed class NativeExports
{
    private readonly nint library;
    private readonly string name;

    private NativeExports(nint library, string name) => (this.library, this.name) = (library, name);

    /// <summary>Opens the first name that is there.</summary>
    public static NativeExports? TryOpen(params ReadOnlySpan<string> names)
    {
        foreach (string name in names)
            if (NativeLibrary.TryLoad(name, typeof(NativeExports).Assembly, null, out nint library))
                return new NativeExports(library, name);
        return null;
    }

    /// <summary>Address of a function.</summary>
    /// <exception cref="CudaException">The library is too old to have it.</exception>
    public nint this[string function] => NativeLibrary.TryGetExport(library, function, out nint address)
        ? address
        : throw new CudaException($"{name} has no function {function}: the installed version is too old. Install CUDA 12.4 or later, or use --device cpu.");
}
