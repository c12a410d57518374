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

    /// <summary>
    /// Opens a library of the CUDA toolkit. Where the driver is older than CUDA 13 that of CUDA 12 comes first: what the newer makes may be
    /// too new for it.
    /// </summary>
    /// <param name="driver">CUDA version of the driver: 1000 · major + 10 · minor.</param>
    /// <param name="linux">Such as libnvrtc.so.</param>
    /// <param name="windows">Names there, for 13 and 12.</param>
    public static NativeExports? TryOpen(int driver, string linux, (string Newer, string Older) windows)
    {
        string[] names = [$"{linux}.13", $"{linux}.12", linux, windows.Newer, windows.Older];
        if (driver < 13000)
            names = [names[1], names[0], names[2], names[4], names[3]];
        return TryOpen(names);
    }

    /// <summary>Address of a function.</summary>
    /// <exception cref="CudaException">The library is too old to have it.</exception>
    public nint this[string function] => NativeLibrary.TryGetExport(library, function, out nint address)
        ? address
        : throw new CudaException($"{name} has no function {function}: the installed version is too old. Install CUDA 12.4 or later, or use --device cpu.");
}
