using System.Runtime.InteropServices;

namespace XDeepServe.Kernels.Cuda;

/// <summary>cuBLASLt for large dense products of bfloat16, where it is installed. Plans are made once per shape.</summary>
internal sealed unsafe class DenseProducts : IDisposable
{
    private const int Brain = 14, Single = 0, Compute32 = 68, TransposeA = 3, WorkspaceLimit = 1;
    private const long WorkspaceBytes = 32 << 20;
    private readonly NativeExports exports;
    private readonly delegate* unmanaged<nint, nint, float*, nint, nint, nint, nint, float*, nint, nint, nint, nint, void*, nint, nuint, nint, int> multiply;
    private readonly Dictionary<(int Rows, int Columns, int Tokens, int Stride), Plan?> plans = [];
    private readonly Driver driver;
    private readonly nint stream, handle;
    private readonly DeviceBuffer workspace;

    private DenseProducts(NativeExports exports, Driver driver, nint stream)
    {
        (this.exports, this.driver, this.stream) = (exports, driver, stream);
        nint made = 0;
        Check(((delegate* unmanaged<nint*, int>)exports["cublasLtCreate"])(&made), "opening cuBLASLt");
        handle = made;
        multiply = (delegate* unmanaged<nint, nint, float*, nint, nint, nint, nint, float*, nint, nint, nint, nint, void*, nint, nuint, nint, int>)exports["cublasLtMatmul"];
        workspace = new DeviceBuffer(driver, WorkspaceBytes, "large products");
    }

    /// <summary>Opens the library; null if it is not there, or too new for the driver: the project's own kernels do the work then, slower.</summary>
    public static DenseProducts? TryOpen(Driver driver, nint stream)
    {
        NativeExports? exports = NativeExports.TryOpen(driver.Version, "libcublasLt.so", ("cublasLt64_13.dll", "cublasLt64_12.dll"));
        try
        {
            return exports is null ? null : new DenseProducts(exports, driver, stream);
        }
        catch (CudaException)
        {
            return null; // the backend's description says so
        }
    }

    /// <summary>output = high · weightᵀ (+ low · weightᵀ); false if the library has no way for this shape.</summary>
    /// <param name="output">F32 <c>[tokens, rows]</c>.</param>
    /// <param name="high">bfloat16 <c>[tokens, columns]</c>.</param>
    /// <param name="low">The same, added; 0 for none.</param>
    /// <param name="weight">bfloat16 <c>[rows, columns]</c>.</param>
    /// <param name="rows">Output features.</param>
    /// <param name="columns">Input features.</param>
    /// <param name="tokens">Rows of input and output.</param>
    public bool TryRun(Tensor output, nint high, nint low, nint weight, int rows, int columns, int tokens)
    {
        (int, int, int, int) shape = (rows, columns, tokens, output.Stride);
        if (!plans.TryGetValue(shape, out Plan? plan))
            plans[shape] = plan = Make(rows, columns, tokens, output.Stride);
        if (plan is null)
            return false;
        Run(plan, output.Address, high, weight, 0);
        if (low != 0)
            Run(plan, output.Address, low, weight, 1);
        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        ((delegate* unmanaged<nint, int>)exports["cublasLtDestroy"])(handle);
        workspace.Dispose();
    }

    private void Run(Plan plan, nint output, nint tokens, nint weight, float keep)
    {
        float one = 1;
        fixed (byte* algorithm = plan.Algorithm)
        {
            Check(multiply(
                handle, plan.Product, &one, weight, plan.Weight, tokens, plan.Input, &keep, output, plan.Output, output, plan.Output,
                algorithm, workspace.Address, (nuint)WorkspaceBytes, stream), "a large product");
        }
    }

    // The library counts columns first: the row-major output [tokens, rows] is its [rows, tokens] = weightᵀ · input.
    private Plan? Make(int rows, int columns, int tokens, int stride)
    {
        driver.Enter();
        nint product = 0, preference = 0;
        Check(((delegate* unmanaged<nint*, int, int, int>)exports["cublasLtMatmulDescCreate"])(&product, Compute32, Single), "describing a product");
        int transpose = 1;
        Check(((delegate* unmanaged<nint, int, void*, nuint, int>)exports["cublasLtMatmulDescSetAttribute"])(product, TransposeA, &transpose, sizeof(int)), "describing a product");
        nint weight = Layout(Brain, columns, rows, columns), input = Layout(Brain, columns, tokens, columns), output = Layout(Single, rows, tokens, stride);
        Check(((delegate* unmanaged<nint*, int>)exports["cublasLtMatmulPreferenceCreate"])(&preference), "describing a product");
        ulong bytes = WorkspaceBytes;
        Check(((delegate* unmanaged<nint, int, void*, nuint, int>)exports["cublasLtMatmulPreferenceSetAttribute"])(preference, WorkspaceLimit, &bytes, sizeof(ulong)), "describing a product");
        byte* result = stackalloc byte[96]; // the algorithm (64 bytes), then what it needs
        int found = 0;
        int status = ((delegate* unmanaged<nint, nint, nint, nint, nint, nint, nint, int, byte*, int*, int>)exports["cublasLtMatmulAlgoGetHeuristic"])(
            handle, product, weight, input, output, output, preference, 1, result, &found);
        ((delegate* unmanaged<nint, int>)exports["cublasLtMatmulPreferenceDestroy"])(preference);
        return status == 0 && found > 0 ? new Plan(product, weight, input, output, new ReadOnlySpan<byte>(result, 64).ToArray()) : null;
    }

    private nint Layout(int type, int rows, int columns, int stride)
    {
        nint layout = 0;
        Check(((delegate* unmanaged<nint*, int, ulong, ulong, long, int>)exports["cublasLtMatrixLayoutCreate"])(&layout, type, (ulong)rows, (ulong)columns, stride), "describing a matrix");
        return layout;
    }

    private void Check(int result, string operation)
    {
        if (result != 0)
            throw new CudaException($"cuBLASLt failed at {operation}: {Marshal.PtrToStringUTF8(((delegate* unmanaged<int, nint>)exports["cublasLtGetStatusString"])(result))} ({result}).");
    }

    private sealed record Plan(nint Product, nint Weight, nint Input, nint Output, byte[] Algorithm);
}
