using System.Runtime.InteropServices;
using System.Text;

namespace XDeepServe.Kernels.Cuda;

/// <summary>The functions of the CUDA driver API that are used here, checked: a failing call names its operation.</summary>
internal sealed unsafe class Driver
{
    private const int OldestVersion = 12040;
    private readonly NativeExports exports;
    private readonly delegate* unmanaged<nint, int> setCurrent;
    private readonly delegate* unmanaged<LaunchConfiguration*, nint, void**, void**, int> launch;
    private readonly delegate* unmanaged<nint, void*, nuint, nint, int> copyUp;
    private readonly delegate* unmanaged<void*, nint, nuint, nint, int> copyDown;
    private readonly delegate* unmanaged<nint, nint, nuint, nint, int> copyAcross;
    private readonly delegate* unmanaged<nint, nint, int> recordEvent, launchGraph;
    private readonly delegate* unmanaged<nint, int> synchronizeStream, synchronizeEvent, queryEvent;
    private readonly nint context;

    private Driver(NativeExports exports, int ordinal)
    {
        this.exports = exports;
        if (((delegate* unmanaged<uint, int>)exports["cuInit"])(0) is not 0 and { } failed)
            throw new CudaException($"CUDA does not start: {Text(failed)}. Let nvidia-smi show a GPU that this process may use, or use --device cpu.");
        int version = 0;
        Check(((delegate* unmanaged<int*, int>)exports["cuDriverGetVersion"])(&version), "reading the driver's version");
        if (version < OldestVersion)
            throw new CudaException($"The NVIDIA driver supports CUDA {version / 1000}.{version % 1000 / 10} only. Install a driver for CUDA 12.4 or later, or use --device cpu.");
        Version = version;
        int count = 0, device = 0;
        Check(((delegate* unmanaged<int*, int>)exports["cuDeviceGetCount"])(&count), "counting GPUs");
        if (ordinal < 0 || ordinal >= count)
            throw new CudaException($"GPU {ordinal} was asked for, but there are {count}. Choose a lower number, or use --device cpu.");
        Check(((delegate* unmanaged<int*, int, int>)exports["cuDeviceGet"])(&device, ordinal), "opening the GPU");
        byte* name = stackalloc byte[256];
        Check(((delegate* unmanaged<byte*, int, int, int>)exports["cuDeviceGetName"])(name, 256, device), "reading the GPU's name");
        Name = Marshal.PtrToStringUTF8((nint)name)!;
        nuint bytes = 0;
        Check(((delegate* unmanaged<nuint*, int, int>)exports["cuDeviceTotalMem_v2"])(&bytes, device), "reading the GPU's memory");
        TotalBytes = (long)bytes;
        Processors = Attribute(device, 16);
        SharedBytes = Attribute(device, 97);
        Architecture = Attribute(device, 75) * 10 + Attribute(device, 76);
        nint made = 0;
        Check(((delegate* unmanaged<nint*, int, int>)exports["cuDevicePrimaryCtxRetain"])(&made, device), "opening the GPU");
        (context, Device) = (made, device);
        setCurrent = (delegate* unmanaged<nint, int>)exports["cuCtxSetCurrent"];
        launch = (delegate* unmanaged<LaunchConfiguration*, nint, void**, void**, int>)exports["cuLaunchKernelEx"];
        copyUp = (delegate* unmanaged<nint, void*, nuint, nint, int>)exports["cuMemcpyHtoDAsync_v2"];
        copyDown = (delegate* unmanaged<void*, nint, nuint, nint, int>)exports["cuMemcpyDtoHAsync_v2"];
        copyAcross = (delegate* unmanaged<nint, nint, nuint, nint, int>)exports["cuMemcpyDtoDAsync_v2"];
        recordEvent = (delegate* unmanaged<nint, nint, int>)exports["cuEventRecord"];
        launchGraph = (delegate* unmanaged<nint, nint, int>)exports["cuGraphLaunch"];
        synchronizeStream = (delegate* unmanaged<nint, int>)exports["cuStreamSynchronize"];
        synchronizeEvent = (delegate* unmanaged<nint, int>)exports["cuEventSynchronize"];
        queryEvent = (delegate* unmanaged<nint, int>)exports["cuEventQuery"];
    }

    public string Name { get; }

    /// <summary>CUDA version of the driver: 1000 · major + 10 · minor.</summary>
    public int Version { get; }

    /// <summary>10 · major + minor of the compute capability.</summary>
    public int Architecture { get; }

    public int Processors { get; }

    /// <summary>Most shared memory of a block.</summary>
    public int SharedBytes { get; }

    public long TotalBytes { get; }

    private int Device { get; }

    /// <summary>Opens a GPU.</summary>
    /// <exception cref="CudaException">No driver, too old a driver or no such GPU.</exception>
    public static Driver Open(int ordinal)
    {
        NativeExports exports = NativeExports.TryOpen("libcuda.so.1", "nvcuda.dll")
            ?? throw new CudaException("There is no NVIDIA driver on this machine (libcuda.so.1 was not found). Install one, or use --device cpu.");
        return new Driver(exports, ordinal);
    }

    public void Close() => ((delegate* unmanaged<int, int>)exports["cuDevicePrimaryCtxRelease_v2"])(Device);

    /// <summary>Makes the calling thread work on this GPU; cheap, so every entry does it.</summary>
    public void Enter() => Check(setCurrent(context), "switching to the GPU");

    /// <summary>Takes memory.</summary>
    /// <param name="bytes">How much.</param>
    /// <param name="what">What for.</param>
    /// <param name="advice">What to do if there is not enough.</param>
    public nint Allocate(long bytes, string what, string advice = "Serve with a smaller --max-num-batched-tokens or --kv-cache-memory-bytes.")
    {
        nint address = 0;
        int result = ((delegate* unmanaged<nint*, nuint, int>)exports["cuMemAlloc_v2"])(&address, (nuint)Math.Max(bytes, 256));
        if (result == 2)
        {
            throw new CudaException(
                $"The GPU has not enough memory for {what}: {bytes >> 20} MiB are needed, {FreeBytes() >> 20} of {TotalBytes >> 20} MiB are free. {advice}");
        }
        Check(result, $"taking {bytes} bytes for {what}");
        return address;
    }

    public long FreeBytes()
    {
        nuint free = 0, total = 0;
        Check(((delegate* unmanaged<nuint*, nuint*, int>)exports["cuMemGetInfo_v2"])(&free, &total), "asking for free memory");
        return (long)free;
    }

    public void Free(nint address) => Check(((delegate* unmanaged<nint, int>)exports["cuMemFree_v2"])(address), "giving memory back");

    /// <summary>Host memory that the GPU reads at full speed, at the same address.</summary>
    public nint AllocateHost(long bytes)
    {
        void* address = null;
        Check(((delegate* unmanaged<void**, nuint, uint, int>)exports["cuMemHostAlloc"])(&address, (nuint)bytes, 1), "taking pinned memory");
        return (nint)address;
    }

    public void FreeHost(nint address) => Check(((delegate* unmanaged<nint, int>)exports["cuMemFreeHost"])(address), "giving pinned memory back");

    public void Clear(nint address, long bytes, nint stream) =>
        Check(((delegate* unmanaged<nint, byte, nuint, nint, int>)exports["cuMemsetD8Async"])(address, 0, (nuint)bytes, stream), "clearing memory");

    public void CopyUp(nint to, void* from, long bytes, nint stream) => Check(copyUp(to, from, (nuint)bytes, stream), "copying to the GPU");

    public void CopyDown(void* to, nint from, long bytes, nint stream) => Check(copyDown(to, from, (nuint)bytes, stream), "copying from the GPU");

    public void CopyAcross(nint to, nint from, long bytes, nint stream) => Check(copyAcross(to, from, (nuint)bytes, stream), "copying on the GPU");

    public nint CreateStream()
    {
        nint stream = 0;
        Check(((delegate* unmanaged<nint*, uint, int>)exports["cuStreamCreate"])(&stream, 1), "making a stream");
        return stream;
    }

    public void DestroyStream(nint stream) => Check(((delegate* unmanaged<nint, int>)exports["cuStreamDestroy_v2"])(stream), "closing a stream");

    public void Synchronize(nint stream, string what) => Check(synchronizeStream(stream), what);

    public void Wait(nint stream, nint recorded) =>
        Check(((delegate* unmanaged<nint, nint, uint, int>)exports["cuStreamWaitEvent"])(stream, recorded, 0), "ordering streams");

    public nint CreateEvent(bool timed = false)
    {
        nint made = 0;
        Check(((delegate* unmanaged<nint*, uint, int>)exports["cuEventCreate"])(&made, timed ? 0u : 2u), "making an event");
        return made;
    }

    public void DestroyEvent(nint recorded) => Check(((delegate* unmanaged<nint, int>)exports["cuEventDestroy_v2"])(recorded), "closing an event");

    public void Record(nint recorded, nint stream) => Check(recordEvent(recorded, stream), "recording an event");

    public void Await(nint recorded, string what) => Check(synchronizeEvent(recorded), what);

    /// <summary>Whether work before the event still runs; what it failed at is said by <see cref="Await"/>.</summary>
    public bool Pending(nint recorded) => queryEvent(recorded) == 600;

    /// <summary>Milliseconds between two timed events.</summary>
    public float Elapsed(nint start, nint end)
    {
        float milliseconds = 0;
        Check(((delegate* unmanaged<float*, nint, nint, int>)exports["cuEventElapsedTime"])(&milliseconds, start, end), "timing");
        return milliseconds;
    }

    public nint LoadModule(ReadOnlySpan<byte> image, string what)
    {
        nint module = 0;
        fixed (byte* bytes = image)
            Check(((delegate* unmanaged<nint*, void*, int>)exports["cuModuleLoadData"])(&module, bytes), $"loading the kernels of {what}");
        return module;
    }

    public void UnloadModule(nint module) => Check(((delegate* unmanaged<nint, int>)exports["cuModuleUnload"])(module), "unloading kernels");

    public nint Function(nint module, string name)
    {
        nint function = 0;
        fixed (byte* text = Encoding.UTF8.GetBytes(name + '\0'))
            Check(((delegate* unmanaged<nint*, nint, byte*, int>)exports["cuModuleGetFunction"])(&function, module, text), $"finding the kernel {name}");
        return function;
    }

    /// <summary>
    /// Lets a kernel take more than 48 KB of shared memory. All kernels ask for the largest part of the first cache as such: a
    /// multiprocessor changes the parts only when nothing runs on it, and kernels are to overlap.
    /// </summary>
    public void AllowShared(nint function, int bytes, string name)
    {
        var set = (delegate* unmanaged<nint, int, int, int>)exports["cuFuncSetAttribute"];
        if (bytes > 0)
            Check(set(function, 8, bytes), $"giving {name} {bytes} bytes of shared memory");
        Check(set(function, 9, 100), $"giving {name} shared memory");
    }

    public void Launch(in LaunchConfiguration configuration, nint function, void** arguments, string name)
    {
        fixed (LaunchConfiguration* where = &configuration)
            Check(launch(where, function, arguments, null), name);
    }

    public void BeginCapture(nint stream) =>
        Check(((delegate* unmanaged<nint, int, int>)exports["cuStreamBeginCapture_v2"])(stream, 2), "starting a graph");

    /// <summary>Ends a capture and makes the graph ready to run.</summary>
    public nint EndCapture(nint stream)
    {
        nint graph = 0, executable = 0;
        Check(((delegate* unmanaged<nint, nint*, int>)exports["cuStreamEndCapture"])(stream, &graph), "ending a graph");
        Check(((delegate* unmanaged<nint*, nint, ulong, int>)exports["cuGraphInstantiateWithFlags"])(&executable, graph, 0), "building a graph");
        Check(((delegate* unmanaged<nint, int>)exports["cuGraphDestroy"])(graph), "closing a graph");
        return executable;
    }

    /// <summary>Ends a capture that failed; what it recorded is dropped.</summary>
    public void AbandonCapture(nint stream)
    {
        nint graph = 0;
        ((delegate* unmanaged<nint, nint*, int>)exports["cuStreamEndCapture"])(stream, &graph);
        if (graph != 0)
            ((delegate* unmanaged<nint, int>)exports["cuGraphDestroy"])(graph);
    }

    public void LaunchGraph(nint executable, nint stream) => Check(launchGraph(executable, stream), "running a graph");

    public void DestroyGraph(nint executable) => Check(((delegate* unmanaged<nint, int>)exports["cuGraphExecDestroy"])(executable), "closing a graph");

    private int Attribute(int device, int attribute)
    {
        int value = 0;
        Check(((delegate* unmanaged<int*, int, int, int>)exports["cuDeviceGetAttribute"])(&value, attribute, device), "reading the GPU's properties");
        return value;
    }

    private void Check(int result, string operation)
    {
        if (result != 0)
            throw new CudaException($"CUDA failed at {operation}: {Text(result)}.");
    }

    private string Text(int error)
    {
        byte* text = null;
        ((delegate* unmanaged<int, byte**, int>)exports["cuGetErrorString"])(error, &text);
        return $"{Marshal.PtrToStringUTF8((nint)text) ?? "unknown error"} ({error})";
    }
}

/// <summary>Where and how a kernel runs; laid out as CUlaunchConfig.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct LaunchConfiguration
{
    public uint GridX, GridY, GridZ;
    public uint BlockX, BlockY, BlockZ;
    public uint SharedBytes;
    public nint Stream;
    public LaunchAttribute* Attributes;
    public uint AttributeCount;
}

/// <summary>An entry of a launch's attribute list; laid out as CUlaunchAttribute.</summary>
[StructLayout(LayoutKind.Explicit, Size = 72)]
internal struct LaunchAttribute
{
    /// <summary>The next kernel's blocks may start before this one ended; they wait by themselves.</summary>
    public const int ProgrammaticOrder = 6;

    [FieldOffset(0)]
    public int Id;
    [FieldOffset(8)]
    public int Value;
}
