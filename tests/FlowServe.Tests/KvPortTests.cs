using CsCheck;
using XDeepServe.Kernels;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models;

namespace XDeepServe.FlowServe.Tests;

public sealed class KvPortTests
{
    [Theory]
    [InlineData(ElementType.F32, 16, 4)]
    [InlineData(ElementType.BF16, 1, 8)]
    [InlineData(ElementType.F32, 2, 32)]
    public void Positions_go_from_blocks_of_one_size_into_blocks_of_another(ElementType type, int blockSize, int otherSize)
    {
        CacheLayout layout = new(type, [[new CacheRow(3, 5), new CacheRow(3, 7)], [new CacheRow(1, 9)]]);
        using CpuBackend backend = new(new CpuOptions(Threads: 1, PinThreads: false));
        using KvCache one = Cache(layout, 40 / blockSize + 3, blockSize, backend), other = Cache(layout, 40 / otherSize + 3, otherSize, backend);
        KvPort from = new(backend, one), to = new(backend, other);
        Assert.Equal(from.Fingerprint, to.Fingerprint);
        Assert.Equal(layout.BytesPerPosition, from.BytesPerPosition);
        int[] blocks = Blocks(one, 1), others = Blocks(other, 2);
        Random random = new(3);
        byte[] whole = new byte[37 * from.BytesPerPosition];
        random.NextBytes(whole);
        from.Write(blocks, 0, 37, whole);
        foreach ((int start, int end) in new[] { (0, 37), (5, 6), (3, 3), (7, 29), (16, 37) })
        {
            byte[] piece = new byte[(end - start) * from.BytesPerPosition];
            from.Read(blocks, start, end, piece);
            Assert.Equal(Expected(layout, whole, 37, start, end), piece); // the naive twin cuts the piece out of the whole
            to.Write(others, start, end, piece);
            byte[] back = new byte[piece.Length];
            to.Read(others, start, end, back);
            Assert.Equal(piece, back);
        }
        // Where the cache's own layout says they are: head by head inside a block, a head's positions one behind the other.
        unsafe
        {
            int position = 21, head = 2, width = (int)type.Bytes(7);
            Tensor values = one[0, 1];
            byte* row = (byte*)values.Address + type.Bytes((long)blocks[position / blockSize] * values.Stride + ((long)head * blockSize + position % blockSize) * 7);
            int at = 37 * ((int)type.Bytes(3 * 5) + head * width) + position * width;
            Assert.Equal(whole.AsSpan(at, width).ToArray(), new Span<byte>(row, width).ToArray());
        }
    }

    [Fact]
    public void Pieces_in_any_order_make_up_the_whole_and_nothing_else_changes() =>
        Gen.Select(Gen.Int[0, 3], Gen.Int[0, 4], Gen.Int[0, 4], Gen.Int[0, 20], Gen.Int[1, 40], Gen.Int[0, 1000]).Sample((kind, power, otherPower, from, count, seed) =>
        {
            CacheLayout layout = Layouts[kind];
            int size = 1 << power, otherSize = 1 << otherPower;
            using CpuBackend backend = new(new CpuOptions(Threads: 1, PinThreads: false));
            Arena arena = backend.CreateArena(KvCache.BytesPerBlock(layout, otherSize) * 64 + 4096), before = backend.CreateArena(arena.Bytes);
            using KvCache one = Cache(layout, 60 / size + 1, size, backend), other = new(layout, 60 / otherSize + 1, otherSize, arena), twin = new(layout, 60 / otherSize + 1, otherSize, before);
            KvPort source = new(backend, one), target = new(backend, other);
            int[] blocks = Blocks(one, seed), others = Blocks(other, seed + 1);
            Random random = new(seed);
            random.NextBytes(Bytes(arena));
            Bytes(arena).CopyTo(Bytes(before));
            byte[] whole = new byte[count * source.BytesPerPosition], piece = new byte[whole.Length];
            random.NextBytes(whole);
            source.Write(blocks, from, from + count, whole);
            foreach ((int start, int length) in Pieces(whole.Length, random))
            {
                source.Read(blocks, from, from + count, start, piece.AsSpan(start, length));
                target.Write(others, from, from + count, start, piece.AsSpan(start, length));
            }
            Assert.Equal(whole, piece);
            target.Read(others, from, from + count, piece);
            Assert.Equal(whole, piece);
            new KvPort(backend, twin).Read(others, from, from + count, piece);
            target.Write(others, from, from + count, piece);
            Assert.True(Bytes(arena).SequenceEqual(Bytes(before)));
        }, iter: 200);

    [Fact]
    public void Outside_the_cache_a_block_is_what_it_holds()
    {
        using CpuBackend backend = new(new CpuOptions(Threads: 1, PinThreads: false));
        using KvCache cache = Cache(Layouts[0], 5, 4, backend);
        KvPort port = new(backend, cache);
        byte[] whole = new byte[4 * port.BytesPerPosition], held = new byte[whole.Length];
        new Random(1).NextBytes(whole);
        port.Write([3, 1, 2], 4, 8, whole);
        int at = 0;
        for (int layer = 0; layer < Layouts[0].Layers.Count; layer++)
        {
            for (int part = 0; part < Layouts[0].Layers[layer].Count; part++)
            {
                Tensor block = cache[layer, part].Slice(1, 1);
                int bytes = (int)block.Type.Bytes(block.Columns);
                backend.Download(block, held.AsSpan(at, bytes));
                at += bytes;
            }
        }
        Assert.Equal(whole, held);
    }

    [Fact]
    public void Positions_outside_the_blocks_are_refused_and_other_layouts_have_other_fingerprints()
    {
        using CpuBackend backend = new(new CpuOptions(Threads: 1, PinThreads: false));
        CacheLayout layout = new(ElementType.F32, [[new CacheRow(2, 4)]]);
        using KvCache cache = Cache(layout, 3, 4, backend);
        KvPort port = new(backend, cache);
        Assert.Throws<ArgumentOutOfRangeException>(() => port.Read([0, 1], 0, 9, new byte[1000]));
        Assert.Throws<ArgumentOutOfRangeException>(() => port.Read([0, 1], 0, 8, new byte[8 * port.BytesPerPosition - 1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => port.Read([0, 1], 0, 8, 2, new byte[4]));
        Assert.Throws<ArgumentOutOfRangeException>(() => port.Write([0, 1], 0, 8, 8 * port.BytesPerPosition - 4, new byte[8]));
        foreach (CacheLayout different in new[] { new CacheLayout(ElementType.BF16, layout.Layers), new CacheLayout(ElementType.F32, [[new CacheRow(4, 2)]]), new CacheLayout(ElementType.F32, [[new CacheRow(2, 4)], [new CacheRow(2, 4)]]) })
        {
            using KvCache another = Cache(different, 3, 4, backend);
            Assert.NotEqual(port.Fingerprint, new KvPort(backend, another).Fingerprint);
        }
    }

    private static readonly CacheLayout[] Layouts =
    [
        new(ElementType.F32, [[new(3, 5), new(3, 5)], [new(3, 5), new(3, 5)]]),                                    // grouped queries
        new(ElementType.BF16, [[new(2, 8), new(2, 6)], [new(1, 4), new(1, 4)]]),
        new(ElementType.BF16, [[new(1, 9)], [new(1, 9)]]),                                                         // latents
        new(ElementType.F32, [[new(1, 7)], [new(4, 3), new(4, 2)]]),                                               // both
    ];

    private static unsafe Span<byte> Bytes(Arena arena) => new((void*)arena.Address, (int)arena.Bytes);

    private static (int Start, int Length)[] Pieces(int total, Random random)
    {
        List<(int, int)> pieces = [];
        for (int start = 0, length; start < total; start += length)
            pieces.Add((start, length = Math.Min(total - start, 4 * random.Next(1, 60))));
        (int, int)[] mixed = [.. pieces];
        random.Shuffle(mixed);
        return mixed;
    }

    private static KvCache Cache(CacheLayout layout, int blocks, int blockSize, CpuBackend backend) =>
        new(layout, blocks, blockSize, backend.CreateArena(KvCache.BytesPerBlock(layout, blockSize) * blocks + 4096 * layout.Layers.Count));

    private static int[] Blocks(KvCache cache, int seed)
    {
        int[] blocks = [.. Enumerable.Range(0, cache.Blocks)];
        new Random(seed).Shuffle(blocks);
        return blocks;
    }

    private static byte[] Expected(CacheLayout layout, byte[] whole, int positions, int from, int to)
    {
        List<byte> piece = [];
        int at = 0;
        foreach (CacheRow row in layout.Layers.SelectMany(parts => parts))
        {
            for (int head = 0; head < row.Heads; head++)
            {
                int width = (int)layout.Type.Bytes(row.Width);
                piece.AddRange(whole[(at + from * width)..(at + to * width)]);
                at += positions * width;
            }
        }
        return [.. piece];
    }
}
