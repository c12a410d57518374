using System.Runtime.InteropServices;
using XDeepServe.Kernels;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models;

/// <summary>A copy of a matrix <c>[columns, rows]</c> as <c>[rows, columns]</c>, for files that store input features first. Owns the copy.</summary>
internal sealed unsafe class TransposedTensor : IDisposable
{
    private void* memory;

    /// <summary>Copies a matrix.</summary>
    /// <exception cref="ModelLoadException">Its values are blocks along the wrong dimension.</exception>
    public TransposedTensor(StoredTensor source)
    {
        (int rows, int columns) = (source.Rows, source.Columns);
        long width = source.Type.IsPlain() ? source.Type.Bytes(1) : 0;
        if (width is not (2 or 4))
            throw new ModelLoadException($"'{source.Name}' stores input features first, which blocks of {source.Type} cannot. Take a version of the model in F32, F16 or BF16.");
        memory = NativeMemory.AlignedAlloc((nuint)Math.Max(source.Bytes, 64), 64);
        for (int row = 0; row < rows; row++)
            for (int column = 0; column < columns; column++)
                if (width == 2)
                    ((ushort*)memory)[(long)column * rows + row] = ((ushort*)source.Address)[(long)row * columns + column];
                else
                    ((uint*)memory)[(long)column * rows + row] = ((uint*)source.Address)[(long)row * columns + column];
        Tensor = source with { Shape = [columns, rows], Address = (nint)memory, File = null };
    }

    /// <summary>The copy.</summary>
    public StoredTensor Tensor { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.AlignedFree(memory);
        memory = null;
    }
}
