using System.Runtime.CompilerServices;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Xccl.Memory;

/// <summary>Words of a mapped region.</summary>
/// <param name="start">First byte of the region in this process.</param>
public readonly unsafe struct MappedWords(byte* start) : IWords
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong Read(long offset) => Volatile.Read(ref *(ulong*)(start + offset));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Write(long offset, ulong value) => *(ulong*)(start + offset) = value;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Publish(long offset, ulong value) => Volatile.Write(ref *(ulong*)(start + offset), value);

    /// <inheritdoc/>
    public ulong Add(long offset, ulong value) => Interlocked.Add(ref *(ulong*)(start + offset), value);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Fence() => Interlocked.MemoryBarrier();

    /// <inheritdoc/>
    public void Sleep(long offset, ulong seen, int milliseconds) => Futex.Wait((uint*)(start + offset), (uint)seen, milliseconds);

    /// <inheritdoc/>
    public void Wake(long offset) => Futex.WakeAll((uint*)(start + offset));
}
