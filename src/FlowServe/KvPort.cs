using System.IO.Hashing;
using System.Runtime.InteropServices;
using XDeepServe.Kernels;
using XDeepServe.Models;

namespace XDeepServe.FlowServe;

/// <summary>
/// Carries keys and values between cache blocks and host memory, in a form that does not depend on the size of blocks: for each
/// layer, part and head the rows of the positions, one behind the other. The executor's thread alone may call it
/// (<see cref="Executor.Post"/>), since a backend takes calls from one thread.
/// </summary>
public sealed class KvPort
{
    private readonly Backend backend;
    private readonly KvCache cache;

    /// <summary>A port into a cache. Both stay the caller's.</summary>
    public KvPort(Backend backend, KvCache cache)
    {
        (this.backend, this.cache) = (backend, cache);
        BytesPerPosition = checked((int)cache.Layout.BytesPerPosition);
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

    /// <summary>Copies positions out of blocks.</summary>
    /// <param name="blocks">A sequence's blocks, in order of position.</param>
    /// <param name="from">First position.</param>
    /// <param name="to">Behind the last.</param>
    /// <param name="destination">[layer, part, head, position, width]; at least (to − from) · <see cref="BytesPerPosition"/> bytes.</param>
    public void Read(ReadOnlySpan<int> blocks, int from, int to, Span<byte> destination) => Carry(blocks, from, to, destination, writes: false);

    /// <summary>Copies positions into blocks.</summary>
    /// <param name="blocks">A sequence's blocks, in order of position.</param>
    /// <param name="from">First position.</param>
    /// <param name="to">Behind the last.</param>
    /// <param name="source">As <see cref="Read"/> leaves them.</param>
    public void Write(ReadOnlySpan<int> blocks, int from, int to, ReadOnlySpan<byte> source) =>
        Carry(blocks, from, to, MemoryMarshal.CreateSpan(ref MemoryMarshal.GetReference(source), source.Length), writes: true);

    private void Carry(ReadOnlySpan<int> blocks, int from, int to, Span<byte> host, bool writes)
    {
        if (from < 0 || to < from || to > blocks.Length * BlockSize || host.Length < (long)(to - from) * BytesPerPosition)
            throw new ArgumentOutOfRangeException(nameof(to), $"Positions {from} to {to} are not within {blocks.Length} blocks of {BlockSize}, or {host.Length} bytes are too few for them.");
        int at = 0;
        ElementType type = cache.Layout.Type;
        for (int layer = 0; layer < cache.Layout.Layers.Count; layer++)
        {
            for (int part = 0; part < cache.Layout.Layers[layer].Count; part++)
            {
                CacheRow row = cache.Layout.Layers[layer][part];
                Tensor tensor = cache[layer, part];
                int width = (int)type.Bytes(row.Width);
                for (int head = 0; head < row.Heads; head++)
                {
                    for (int position = from; position < to;)
                    {
                        int within = position % BlockSize, count = Math.Min(BlockSize - within, to - position);
                        long element = ((long)head * BlockSize + within) * row.Width;
                        Tensor run = tensor with
                        {
                            Address = tensor.Address + (nint)type.Bytes((long)blocks[position / BlockSize] * tensor.Stride + element),
                            Rows = count,
                            Columns = row.Width,
                            Stride = row.Width,
                        };
                        Span<byte> bytes = host.Slice(at, count * width);
                        if (writes)
                            backend.Upload<byte>(run, bytes);
                        else
                            backend.Download(run, bytes);
                        at += bytes.Length;
                        position += count;
                    }
                }
            }
        }
    }
}
