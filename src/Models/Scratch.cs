using XDeepServe.Kernels;

namespace XDeepServe.Models;

/// <summary>
/// Short-lived buffers of a unit, taken front to back and given back all at once. A unit's tensors are dead once its caller
/// rewinds. The same calls give the same addresses, so that a captured step stays valid.
/// </summary>
public sealed class Scratch
{
    private const int Line = 64;
    private readonly nint address;
    private readonly long bytes;
    private long used;

    /// <summary>Takes its memory from an arena, which must outlive it.</summary>
    public Scratch(Arena arena, long bytes)
    {
        Tensor memory = arena.Allocate(ElementType.F32, checked((int)ArenaRows(bytes)), Line / sizeof(float));
        address = memory.Address;
        this.bytes = ArenaRows(bytes) * Line;
    }

    /// <summary>Bytes that a scratch of this size takes from its arena.</summary>
    public static long ArenaBytes(long bytes) => ArenaRows(bytes) * Line;

    /// <summary>Bytes of an F32 buffer <c>[rows, columns]</c>, rounding included.</summary>
    public static long Size(long rows, long columns) => Arena.BytesFor(ElementType.F32, rows, columns);

    /// <summary>Gives everything back.</summary>
    public void Rewind() => used = 0;

    /// <summary>Takes a buffer <c>[rows, columns]</c>.</summary>
    /// <exception cref="InvalidOperationException">The unit takes more than it announced.</exception>
    public Tensor Take(int rows, int columns, ElementType type = ElementType.F32)
    {
        long need = Arena.BytesFor(type, rows, columns);
        if (used + need > bytes)
            throw new InvalidOperationException($"The scratch of {bytes} bytes cannot hold {need} more: {used} are in use.");
        nint start = address + (nint)used;
        used += need;
        return new Tensor(start, type, rows, columns, columns);
    }

    private static long ArenaRows(long bytes) => Math.Max(1, (bytes + Line - 1) / Line);
}
