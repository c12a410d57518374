namespace XDeepServe.Kernels;

/// <summary>
/// A run of backend memory handed out front to back and given back as a whole.
/// Whoever created the arena owns it; every tensor from it dies with it.
/// </summary>
public sealed class Arena : IDisposable
{
    private const int Alignment = 64;
    private readonly long bytes;
    private Action? release;

    /// <summary>Wraps memory that is already there, for instance a shared region.</summary>
    /// <param name="address">First byte, aligned to 64.</param>
    /// <param name="bytes">Length.</param>
    /// <param name="release">Called once on dispose; null if the memory belongs to someone else.</param>
    public Arena(nint address, long bytes, Action? release)
    {
        Address = address;
        this.bytes = bytes;
        this.release = release;
    }

    /// <summary>First byte of the arena.</summary>
    public nint Address { get; }

    /// <summary>Length in bytes.</summary>
    public long Bytes => bytes;

    /// <summary>Bytes handed out so far.</summary>
    public long Used { get; private set; }

    /// <summary>Bytes that a tensor of this shape takes from an arena, rounding included.</summary>
    public static long BytesFor(ElementType type, long rows, long columns) =>
        (type.Bytes(rows * columns) + Alignment - 1) / Alignment * Alignment;

    /// <summary>Takes the next piece as a tensor <c>[rows, columns]</c>, aligned to 64 bytes.</summary>
    /// <exception cref="InvalidOperationException">The arena is full.</exception>
    public Tensor Allocate(ElementType type, int rows, int columns)
    {
        long need = BytesFor(type, rows, columns);
        if (Used + need > bytes)
            throw new InvalidOperationException($"The arena of {bytes} bytes cannot hold {need} more: {Used} are in use.");
        nint start = Address + (nint)Used;
        Used += need;
        return new Tensor(start, type, rows, columns, columns);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        release?.Invoke();
        release = null;
    }
}
