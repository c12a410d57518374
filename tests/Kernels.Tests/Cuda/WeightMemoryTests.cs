using XDeepServe.Kernels.Cuda;

namespace XDeepServe.Kernels.Tests.Cuda;

/// <summary>How blocks are carved, on numbers: no GPU is needed.</summary>
public sealed class WeightMemoryTests
{
    private const long Megabyte = 1 << 20;
    private readonly Dictionary<nint, long> blocks = [];
    private nint next = 1 << 12;

    [Fact]
    public void Many_small_weights_share_few_blocks_and_none_overlap()
    {
        WeightMemory memory = new(Take, Give);
        Random random = new(3);
        List<(nint Address, long Bytes)> weights = [];
        for (int i = 0; i < 500; i++)
        {
            long bytes = random.NextInt64(1, 2 * Megabyte);
            weights.Add((memory.Take(bytes), bytes));
        }
        AssertApart(weights);
        Assert.InRange(blocks.Count, 2, 10);
        Assert.Equal(blocks.Values.Sum(), memory.Reserved);
        // No more is taken than twice what is needed, or one block more.
        Assert.InRange(memory.Reserved, memory.Used, 2 * memory.Used + WeightMemory.ShortestBlock);
    }

    [Fact]
    public void A_large_weight_has_a_block_for_itself_that_goes_back_with_it()
    {
        WeightMemory memory = new(Take, Give);
        nint large = memory.Take(800 * Megabyte + 5), small = memory.Take(100);
        Assert.Equal(800 * Megabyte + 256, blocks[large]);
        memory.Give(large);
        Assert.False(blocks.ContainsKey(large));
        memory.Give(small);
        Assert.Empty(blocks);
        Assert.Equal((0, 0), (memory.Reserved, memory.Used));
    }

    [Fact]
    public void What_is_given_back_is_taken_again_and_neighbours_become_one()
    {
        WeightMemory memory = new(Take, Give);
        nint[] weights = [.. Enumerable.Range(0, 4).Select(_ => memory.Take(Megabyte))]; // fill the first block
        Assert.Single(blocks);
        memory.Give(weights[1]);
        Assert.Equal(weights[1], memory.Take(Megabyte));
        memory.Give(weights[2]);
        memory.Give(weights[1]);
        Assert.Equal(weights[1], memory.Take(2 * Megabyte));
        Assert.Single(blocks);
        Assert.Throws<ArgumentException>(() => memory.Give(weights[2]));
    }

    [Fact]
    public void Weights_that_come_and_go_never_overlap_and_leave_nothing()
    {
        WeightMemory memory = new(Take, Give);
        Random random = new(4);
        List<(nint Address, long Bytes)> weights = [];
        for (int i = 0; i < 5000; i++)
        {
            if (weights.Count > 0 && random.Next(100) < (i < 3000 ? 45 : 60))
            {
                int place = random.Next(weights.Count);
                memory.Give(weights[place].Address);
                weights.RemoveAt(place);
            }
            else
            {
                long bytes = random.NextInt64(1, random.Next(20) == 0 ? 100 * Megabyte : Megabyte);
                weights.Add((memory.Take(bytes), bytes));
            }
            if (i % 500 == 0)
                AssertApart(weights);
        }
        foreach ((nint address, _) in weights)
            memory.Give(address);
        Assert.Empty(blocks);
        Assert.Equal((0, 0), (memory.Reserved, memory.Used));
    }

    [Fact]
    public void Where_a_whole_block_finds_no_room_the_weight_alone_may()
    {
        WeightMemory memory = new(bytes => bytes > Megabyte ? throw new CudaException("full") : Take(bytes), Give);
        nint weight = memory.Take(Megabyte);
        Assert.Equal(Megabyte, blocks[weight]);
        Assert.Throws<CudaException>(() => memory.Take(Megabyte + 1));
        Assert.Equal(Megabyte, memory.Used);
    }

    private void AssertApart(List<(nint Address, long Bytes)> weights)
    {
        nint end = 0;
        foreach ((nint address, long bytes) in weights.OrderBy(weight => weight.Address))
        {
            Assert.True(address >= end, "Two weights overlap.");
            Assert.Equal(0, address % WeightMemory.Alignment);
            Assert.Contains(blocks, block => address >= block.Key && address + bytes <= block.Key + block.Value);
            end = address + (nint)bytes;
        }
    }

    private nint Take(long bytes)
    {
        nint address = next;
        blocks.Add(address, bytes);
        next += (nint)(bytes + 4096) / 256 * 256;
        return address;
    }

    private void Give(nint address) => Assert.True(blocks.Remove(address), "A block went back twice.");
}
