using System.Runtime.InteropServices;
using System.Text;

namespace XDeepServe.Kernels.Cuda;

/// <summary>NVRTC: makes machine code from kernel texts. Opened only when a text is not in the cache yet.</summary>
internal sealed unsafe class Compiler
{
    private readonly NativeExports exports;

    private Compiler(NativeExports exports) => this.exports = exports;

    /// <summary>Opens the library.</summary>
    /// <param name="driver">CUDA version of the driver.</param>
    /// <exception cref="CudaException">It is not there.</exception>
    public static Compiler Open(int driver) => new(
        NativeExports.TryOpen(driver, "libnvrtc.so", ("nvrtc64_130_0.dll", "nvrtc64_120_0.dll"))
        ?? throw new CudaException(
            "NVRTC was not found (libnvrtc.so.13 or .12): it compiles the kernels at the first start. Install the CUDA toolkit or the package nvidia-cuda-nvrtc, put its folder on LD_LIBRARY_PATH, or use --device cpu."));

    /// <summary>Compiles a text for one architecture.</summary>
    /// <param name="name">For messages.</param>
    /// <param name="text">CUDA C++.</param>
    /// <param name="architecture">Such as sm_90a.</param>
    public byte[] Compile(string name, string text, string architecture)
    {
        nint program = 0;
        fixed (byte* source = Encoding.UTF8.GetBytes(text + '\0'), title = Encoding.UTF8.GetBytes(name + '\0'))
            Check(((delegate* unmanaged<nint*, byte*, byte*, int, byte**, byte**, int>)exports["nvrtcCreateProgram"])(&program, source, title, 0, null, null), name);
        byte[][] options = [.. new[] { $"--gpu-architecture={architecture}", "--std=c++17", "--extra-device-vectorization" }.Select(option => Encoding.UTF8.GetBytes(option + '\0'))];
        int result;
        fixed (byte* first = options[0], second = options[1], third = options[2])
        {
            byte** list = stackalloc byte*[] { first, second, third };
            result = ((delegate* unmanaged<nint, int, byte**, int>)exports["nvrtcCompileProgram"])(program, options.Length, list);
        }
        if (result != 0)
        {
            string log = Encoding.UTF8.GetString(Bytes(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog", name)).TrimEnd('\0', '\n');
            throw new CudaException($"The kernels of {name} do not compile for {architecture}: {log}");
        }
        byte[] image = Bytes(program, "nvrtcGetCUBINSize", "nvrtcGetCUBIN", name);
        ((delegate* unmanaged<nint*, int>)exports["nvrtcDestroyProgram"])(&program);
        return image;
    }

    private byte[] Bytes(nint program, string size, string content, string name)
    {
        nuint length = 0;
        Check(((delegate* unmanaged<nint, nuint*, int>)exports[size])(program, &length), name);
        byte[] bytes = new byte[length];
        fixed (byte* to = bytes)
            Check(((delegate* unmanaged<nint, byte*, int>)exports[content])(program, to), name);
        return bytes;
    }

    private void Check(int result, string name)
    {
        if (result != 0)
            throw new CudaException($"NVRTC failed at {name}: {Marshal.PtrToStringUTF8(((delegate* unmanaged<int, nint>)exports["nvrtcGetErrorString"])(result))} ({result}).");
    }
}
