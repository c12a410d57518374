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
    public void Positions_outside_the_blocks_are_refused_and_other_layouts_have_other_fingerprints()
    {
        using CpuBackend backend = new(new CpuOptions(Threads: 1, PinThreads: false));
        CacheLayout layout = new(ElementType.F32, [[new CacheRow(2, 4)]]);
        using KvCache cache = Cache(layout, 3, 4, backend);
        KvPort port = new(backend, cache);
        Assert.Throws<ArgumentOutOfRangeException>(() => port.Read([0, 1], 0, 9, new byte[1000]));
        Assert.Throws<ArgumentOutOfRangeException>(() => port.Read([0, 1], 0, 8, new byte[8 * port.BytesPerPosition - 1]));
        foreach (CacheLayout different in new[] { new CacheLayout(ElementType.BF16, layout.Layers), new CacheLayout(ElementType.F32, [[new CacheRow(4, 2)]]), new CacheLayout(ElementType.F32, [[new CacheRow(2, 4)], [new CacheRow(2, 4)]]) })
        {
            using KvCache another = Cache(different, 3, 4, backend);
            Assert.NotEqual(port.Fingerprint, new KvPort(backend, another).Fingerprint);
        }
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
