using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;

namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// The processor as a backend. Operations run when they are called, spread over the cores, so <see cref="Synchronize"/> has
/// nothing to wait for; callers must not rely on that. Sums have a fixed order: a row's result is the same in every batch.
/// </summary>
public sealed unsafe partial class CpuBackend : Backend
{
    private const int SmallWork = 16384; // elements below which waking a second thread costs more than it gives
    private readonly CpuOptions options;
    private readonly CpuPath path;
    private readonly WorkerPool pool;
    private readonly bool rounds;
    private NativeBlock? activations, order, scratch;

    /// <summary>Starts the worker threads.</summary>
    /// <exception cref="ArgumentException">The processor lacks the asked instructions, or the activation type is not F32 or BF16.</exception>
    public CpuBackend(CpuOptions options)
    {
        if (options.Activations is not (ElementType.F32 or ElementType.BF16))
            throw new ArgumentException($"Activations are F32 or BF16, not {options.Activations}.", nameof(options));
        bool missing = (options.Path == CpuPath.Avx512 && !Avx512BW.IsSupported) || (options.Path == CpuPath.Avx2 && !Avx2.IsSupported);
        if (missing)
            throw new ArgumentException($"This processor has no {options.Path} instructions; use {nameof(CpuPath.Auto)}.", nameof(options));
        this.options = options;
        path = options.Path != CpuPath.Auto ? options.Path
            : Avx512BW.IsSupported ? CpuPath.Avx512
            : Avx2.IsSupported ? CpuPath.Avx2
            : CpuPath.Portable;
        rounds = options.Activations == ElementType.BF16;
        pool = new WorkerPool(options.Threads, options.PinThreads, options.FirstCore);
    }

    /// <summary>Sees the inputs of products; null to run without.</summary>
    public ProductObserver? Observer { get; init; }

    /// <summary>Threads that compute.</summary>
    public int Threads => pool.Threads;

    /// <inheritdoc/>
    public override string Description => $"CPU, {pool.Threads} threads, {path} products, {options.Activations} activations";

    /// <inheritdoc/>
    public override bool BindCaller() => pool.BindCaller();

    /// <inheritdoc/>
    public override Arena CreateArena(long bytes)
    {
        NativeBlock block = new(bytes);
        NativeMemory.Clear(block.Start, (nuint)bytes);
        return new Arena((nint)block.Start, bytes, block.Dispose);
    }

    /// <inheritdoc/>
    public override bool CopiesOnAnyThread => true;

    /// <inheritdoc/>
    public override void Upload<T>(Tensor destination, ReadOnlySpan<T> source) =>
        source.CopyTo(new Span<T>((void*)destination.Address, source.Length));

    /// <inheritdoc/>
    public override void Download<T>(Tensor source, Span<T> destination) =>
        new ReadOnlySpan<T>((void*)source.Address, destination.Length).CopyTo(destination);

    /// <inheritdoc/>
    public override void Synchronize()
    {
    }

    /// <inheritdoc/>
    public override void GatherTokens(Tensor ids, Tensor tokens, Tensor slots, Tensor positions)
    {
        for (int i = 0; i < ids.Rows; i++)
            *Ints(ids, i) = Ints(tokens, *Ints(slots, i))[*Ints(positions, i)];
    }

    /// <inheritdoc/>
    public override void GatherRows(Tensor output, Tensor input, Tensor rows)
    {
        for (int i = 0; i < rows.Rows; i++)
            new ReadOnlySpan<float>(Floats(input, *Ints(rows, i)), output.Columns).CopyTo(new Span<float>(Floats(output, i), output.Columns));
    }

    /// <inheritdoc/>
    public override void Copy(Tensor output, Tensor input)
    {
        for (int row = 0; row < input.Rows; row++)
            new ReadOnlySpan<float>(Floats(input, row), input.Columns).CopyTo(new Span<float>(Floats(output, row), input.Columns));
    }

    /// <inheritdoc/>
    protected override void Release()
    {
        pool.Dispose();
        activations?.Dispose();
        order?.Dispose();
        scratch?.Dispose();
    }

    /// <summary>First value of a row of an F32 tensor.</summary>
    private static float* Floats(Tensor tensor, int row = 0) => (float*)tensor.Address + (long)row * tensor.Stride;

    /// <summary>First value of a row of an I32 tensor.</summary>
    private static int* Ints(Tensor tensor, int row = 0) => (int*)tensor.Address + (long)row * tensor.Stride;

    /// <summary>Runs work over rows: on this thread if there is little of it, else in a few runs of rows per thread.</summary>
    private void OverRows<TWork>(int rows, long elements, TWork work) where TWork : struct, IRowWork =>
        pool.Run(elements < SmallWork ? 1 : Math.Min(rows, pool.Threads * 4), new RowParts<TWork>(rows, elements < SmallWork ? 1 : Math.Min(rows, pool.Threads * 4), work));

    /// <summary>Memory of each worker for the length of one operation.</summary>
    private byte* Scratch(long bytesPerWorker) => NativeBlock.Ensure(ref scratch, bytesPerWorker * pool.Threads);

    /// <summary>Rounds what an operation wrote, where activations are BF16.</summary>
    private void Finish(Tensor output)
    {
        if (!rounds)
            return;
        for (int row = 0; row < output.Rows; row++)
            BFloat16.Round(new Span<float>(Floats(output, row), output.Columns));
    }

    /// <summary>Work on one row after another.</summary>
    private interface IRowWork
    {
        void Row(int row, int worker);
    }

    private readonly struct RowParts<TWork>(int rows, int parts, TWork work) : IPoolWork where TWork : struct, IRowWork
    {
        public void Execute(int part, int worker)
        {
            int end = (int)((long)rows * (part + 1) / parts);
            for (int row = (int)((long)rows * part / parts); row < end; row++)
                work.Row(row, worker);
        }
    }
}
