namespace XDeepServe.Kernels;

/// <summary>
/// A view of a matrix in backend memory: <c>[Rows, Columns]</c>, <see cref="Stride"/> elements from one row to the next.
/// The view owns nothing: the <see cref="Arena"/> that it came from does, until it is disposed.
/// </summary>
/// <param name="Address">Address of the first element in the backend's memory; only the backend may follow it.</param>
/// <param name="Type">Storage type of the elements.</param>
/// <param name="Rows">Number of rows.</param>
/// <param name="Columns">Elements in a row.</param>
/// <param name="Stride">Elements from the start of one row to the start of the next.</param>
public readonly record struct Tensor(nint Address, ElementType Type, int Rows, int Columns, int Stride)
{
    /// <summary>True for the default value: "no tensor here".</summary>
    public bool IsEmpty => Address == 0;

    /// <summary>The rows <paramref name="start"/> to <paramref name="start"/> + <paramref name="count"/> - 1.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The rows are not within the tensor.</exception>
    public Tensor Slice(int start, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)start + count, Rows);
        return this with { Address = Address + (nint)Type.Bytes((long)start * Stride), Rows = count };
    }

    /// <summary>The first <paramref name="count"/> rows.</summary>
    public Tensor Take(int count) => Slice(0, count);

    /// <summary>The columns <paramref name="start"/> to <paramref name="start"/> + <paramref name="count"/> - 1 of every row.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The columns are not within the tensor.</exception>
    public Tensor Cut(int start, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)start + count, Columns);
        return this with { Address = Address + (nint)Type.Bytes(start), Columns = count };
    }
}
