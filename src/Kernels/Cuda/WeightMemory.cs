namespace XDeepServe.Kernels.Cuda;

/// <summary>
/// Memory for weights, taken in few large blocks and carved. What is given back is used again by the next weight; a block of which
/// nothing is used any more goes back whole. Any thread.
/// </summary>
/// <param name="take">Takes a block of so many bytes.</param>
/// <param name="give">Gives a block back, by its first byte.</param>
/// <param name="apart">Whether every weight has a block for itself.</param>
internal sealed class WeightMemory(Func<long, nint> take, Action<nint> give, bool apart = false)
{
    /// <summary>Every weight begins at a multiple of this.</summary>
    public const long Alignment = 256;

    /// <summary>Shortest and longest block that weights share: as long as all before it together, between these two.</summary>
    public const long ShortestBlock = 4L << 20, LongestBlock = 256L << 20;

    private readonly Lock entering = new();
    private readonly List<Block> blocks = [];
    private readonly Dictionary<nint, (Block Block, long Bytes)> taken = [];

    /// <summary>Bytes of all blocks.</summary>
    public long Reserved { get; private set; }

    /// <summary>Bytes of what is taken.</summary>
    public long Used { get; private set; }

    /// <summary>Number of blocks.</summary>
    public int Blocks => blocks.Count;

    /// <summary>Takes memory; a weight of more than a quarter of the longest block has a block for itself.</summary>
    /// <exception cref="CudaException">There is not enough; from whoever takes the block.</exception>
    public nint Take(long bytes)
    {
        bytes = (Math.Max(bytes, 1) + Alignment - 1) / Alignment * Alignment;
        lock (entering)
        {
            foreach (Block block in blocks)
                if (block.TryCarve(bytes, out long offset))
                    return Entered(block, offset, bytes);
            Block made = Make(bytes);
            blocks.Add(made);
            Reserved += made.Bytes;
            made.TryCarve(bytes, out long first);
            return Entered(made, first, bytes);
        }
    }

    /// <summary>Gives memory back.</summary>
    /// <param name="address">Of <see cref="Take"/>.</param>
    public void Give(nint address)
    {
        lock (entering)
        {
            if (!taken.Remove(address, out (Block Block, long Bytes) piece))
                throw new ArgumentException("This memory was not taken here, or was given back before.", nameof(address));
            Used -= piece.Bytes;
            piece.Block.Return(address - piece.Block.Address, piece.Bytes);
            if (!piece.Block.IsFree)
                return;
            blocks.Remove(piece.Block);
            Reserved -= piece.Block.Bytes;
            give(piece.Block.Address);
        }
    }

    private nint Entered(Block block, long offset, long bytes)
    {
        nint address = block.Address + (nint)offset;
        taken.Add(address, (block, bytes));
        Used += bytes;
        return address;
    }

    private Block Make(long bytes)
    {
        long shared = Math.Clamp(Reserved, ShortestBlock, LongestBlock);
        if (!apart && bytes <= LongestBlock / 4 && bytes < shared)
        {
            try
            {
                return new Block(take(shared), shared);
            }
            catch (CudaException)
            {
                // The memory is nearly full: what is needed may still find room.
            }
        }
        return new Block(take(bytes), bytes);
    }

    /// <summary>A block and what is free in it, in order of place; neighbours are always one.</summary>
    private sealed class Block(nint address, long bytes)
    {
        private readonly List<(long Start, long Bytes)> free = [(0, bytes)];

        public nint Address => address;

        public long Bytes => bytes;

        public bool IsFree => free.Count == 1 && free[0].Bytes == bytes;

        /// <summary>The first place that is long enough.</summary>
        public bool TryCarve(long wanted, out long offset)
        {
            int place = free.FindIndex(range => range.Bytes >= wanted);
            offset = place < 0 ? 0 : free[place].Start;
            if (place < 0)
                return false;
            if (free[place].Bytes == wanted)
                free.RemoveAt(place);
            else
                free[place] = (offset + wanted, free[place].Bytes - wanted);
            return true;
        }

        public void Return(long start, long length)
        {
            int next = free.FindIndex(range => range.Start > start);
            if (next < 0)
                next = free.Count;
            if (next < free.Count && free[next].Start == start + length)
            {
                length += free[next].Bytes;
                free.RemoveAt(next);
            }
            if (next > 0 && free[next - 1].Start + free[next - 1].Bytes == start)
                free[next - 1] = (free[next - 1].Start, free[next - 1].Bytes + length);
            else
                free.Insert(next, (start, length));
        }
    }
}
