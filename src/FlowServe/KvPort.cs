using System.IO.Hashing;
using System.Runtime.InteropServices;
using XDeepServe.Kernels;
using XDeepServe.Models;

namespace XDeepServe.FlowServe;

/// <summary>
/// Carries keys and values between cache blocks and host memory, in a form that does not depend on the size of blocks: for each
/// layer, part and head the rows of the positions, one behind the other. The form of exactly one block is what the block holds, so
/// that it moves in whole parts. The executor's thread alone may call it (<see cref="Executor.Post"/>), since a backend takes
/// calls from one thread; see <see cref="AnyThread"/> for the exception.
/// </summary>
public sealed class KvPort
{
    private readonly Backend backend;
    private readonly KvCache cache;
    private readonly Part[] parts;
    private readonly int elementBytes;

    /// <summary>A port into a cache. Both stay the caller's.</summary>
    public KvPort(Backend backend, KvCache cache)
    {
        (this.backend, this.cache) = (backend, cache);
        BytesPerPosition = checked((int)cache.Layout.BytesPerPosition);
        elementBytes = (int)cache.Layout.Type.Bytes(1);
        List<Part> all = [];
        for (int layer = 0, before = 0; layer < cache.Layout.Layers.Count; layer++)
        {
            for (int part = 0; part < cache.Layout.Layers[layer].Count; part++)
            {
                CacheRow row = cache.Layout.Layers[layer][part];
                all.Add(new Part(cache[layer, part], row.Heads, row.Width, before));
                before += row.Heads * row.Width;
            }
        }
        parts = [.. all];
        XxHash3 hash = new();
        hash.Append(MemoryMarshal.AsBytes<int>([(int)cache.Layout.Type, cache.Layout.Layers.Count, .. cache.Layout.Layers.SelectMany(parts => parts.SelectMany(row => new[] { parts.Count, row.Heads, row.Width }))]));
        Fingerprint = hash.GetCurrentHashAsUInt64();
    }

    /// <summary>Bytes of one position over all layers.</summary>
    public int BytesPerPosition { get; }

    /// <summary>Differs where type, layers, heads or widths differ; does not depend on the size of blocks.</summary>
    public ulong Fingerprint { get; }

    /// <summary>Positions in a block.</summary>
    public int BlockSize => cache.BlockSize;

    /// <summary>
    /// Whether any thread may read and write blocks that no step touches. A step that was planned before a block came free may
    /// still write to it: a job that has been through the executor since says that none does any more.
    /// </summary>
    public bool AnyThread => backend.CopiesOnAnyThread;

    /// <summary>Copies positions out of blocks.</summary>
    /// <param name="blocks">A sequence's blocks, in order of position.</param>
    /// <param name="from">First position.</param>
    /// <param name="to">Behind the last.</param>
    /// <param name="destination">[layer, part, head, position, width]; at least (to − from) · <see cref="BytesPerPosition"/> bytes.</param>
    public void Read(ReadOnlySpan<int> blocks, int from, int to, Span<byte> destination) => Read(blocks, from, to, 0, Whole(destination, to - from));

    /// <summary>Copies a piece of positions out of blocks.</summary>
    /// <param name="blocks">A sequence's blocks, in order of position.</param>
    /// <param name="from">First position.</param>
    /// <param name="to">Behind the last.</param>
    /// <param name="offset">Where in the positions' form the piece begins, in bytes; a multiple of an element, as the length is.</param>
    /// <param name="destination">As long as the piece.</param>
    public void Read(ReadOnlySpan<int> blocks, int from, int to, long offset, Span<byte> destination)
    {
        Check(blocks, from, to, offset, destination.Length);
        int part = 0;
        for (long at = offset / elementBytes; destination.Length > 0;)
        {
            Tensor run = Run(blocks, from, to, at, destination.Length / elementBytes, ref part);
            int bytes = run.Columns * elementBytes;
            backend.Download(run, destination[..bytes]);
            destination = destination[bytes..];
            at += run.Columns;
        }
    }

    /// <summary>Copies positions into blocks.</summary>
    /// <param name="blocks">A sequence's blocks, in order of position.</param>
    /// <param name="from">First position.</param>
    /// <param name="to">Behind the last.</param>
    /// <param name="source">As <see cref="Read(ReadOnlySpan{int}, int, int, Span{byte})"/> leaves them.</param>
    public void Write(ReadOnlySpan<int> blocks, int from, int to, ReadOnlySpan<byte> source) => Write(blocks, from, to, 0, Whole(source, to - from));

    /// <summary>Copies a piece of positions into blocks.</summary>
    /// <param name="blocks">A sequence's blocks, in order of position.</param>
    /// <param name="from">First position.</param>
    /// <param name="to">Behind the last.</param>
    /// <param name="offset">Where in the positions' form the piece begins, in bytes; a multiple of an element, as the length is.</param>
    /// <param name="source">The piece.</param>
    public void Write(ReadOnlySpan<int> blocks, int from, int to, long offset, ReadOnlySpan<byte> source)
    {
        Check(blocks, from, to, offset, source.Length);
        int part = 0;
        for (long at = offset / elementBytes; source.Length > 0;)
        {
            Tensor run = Run(blocks, from, to, at, source.Length / elementBytes, ref part);
            int bytes = run.Columns * elementBytes;
            backend.Upload(run, source[..bytes]);
            source = source[bytes..];
            at += run.Columns;
        }
    }

    /// <summary>The longest run of elements from one on that lies in one piece in the cache.</summary>
    /// <param name="blocks">The sequence's blocks.</param>
    /// <param name="from">First position.</param>
    /// <param name="to">Behind the last.</param>
    /// <param name="at">The run's first element in the positions' form.</param>
    /// <param name="most">Most elements of it.</param>
    /// <param name="part">A part that does not lie behind the run's; moves on to it.</param>
    private Tensor Run(ReadOnlySpan<int> blocks, int from, int to, long at, int most, ref int part)
    {
        long positions = to - from;
        while (at >= positions * (parts[part].Before + (parts[part].Heads * parts[part].Width)))
            part++;
        Part found = parts[part];
        long within = at - (positions * found.Before), headElements = positions * found.Width;
        int head = (int)(within / headElements), inHead = (int)(within % headElements);
        int position = from + (inHead / found.Width), column = inHead % found.Width, slot = position % BlockSize;
        // Heads follow one another in a block as they do outside where the positions are those of one block.
        long run = positions == BlockSize && from % BlockSize == 0
            ? (found.Heads * headElements) - within
            : ((long)Math.Min(BlockSize - slot, to - position) * found.Width) - column;
        int start = (((head * BlockSize) + slot) * found.Width) + column;
        return found.Tensor.Slice(blocks[position / BlockSize], 1).Cut(start, (int)Math.Min(run, most));
    }

    private Span<byte> Whole(Span<byte> host, int positions) => host.Length >= (long)positions * BytesPerPosition ? host[..Math.Max(0, positions * BytesPerPosition)] : throw TooShort(host.Length, positions);

    private ReadOnlySpan<byte> Whole(ReadOnlySpan<byte> host, int positions) => host.Length >= (long)positions * BytesPerPosition ? host[..Math.Max(0, positions * BytesPerPosition)] : throw TooShort(host.Length, positions);

    private ArgumentOutOfRangeException TooShort(int bytes, int positions) =>
        new(nameof(bytes), $"{bytes} bytes are too few for {positions} positions of {BytesPerPosition}.");

    private void Check(ReadOnlySpan<int> blocks, int from, int to, long offset, int length)
    {
        if (from < 0 || to < from || to > (long)blocks.Length * BlockSize)
            throw new ArgumentOutOfRangeException(nameof(to), $"Positions {from} to {to} are not within {blocks.Length} blocks of {BlockSize}.");
        long bytes = (long)(to - from) * BytesPerPosition;
        if (offset < 0 || offset % elementBytes != 0 || length % elementBytes != 0 || offset > bytes - length)
            throw new ArgumentOutOfRangeException(nameof(offset), $"{length} bytes at {offset} are no piece of the {bytes} bytes of positions {from} to {to}.");
    }

    /// <summary>One cache tensor.</summary>
    /// <param name="Tensor"><c>[blocks, heads·blockSize·width]</c>.</param>
    /// <param name="Heads">Heads.</param>
    /// <param name="Width">Columns of a head.</param>
    /// <param name="Before">Elements of a position that stand before this part's.</param>
    private readonly record struct Part(Tensor Tensor, int Heads, int Width, int Before);
}
