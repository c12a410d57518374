namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// The integer product of quantised rows with packed weights. A result is the sum over blocks, in order, of
/// (exact integer sum) x (weight scale x row scale): the same bits in every tile, on every path.
/// </summary>
internal readonly unsafe struct PackedProduct(
    ProductRows rows, PackedWeight weight, byte* input, Tensor output, int partsPerGroup, CpuPath path) : IPoolWork
{
    /// <inheritdoc/>
    public void Execute(int part, int worker)
    {
        int group = rows.Used[part / partsPerGroup];
        int slice = part % partsPerGroup;
        int first = (int)((long)weight.TilesPerGroup * slice / partsPerGroup);
        int end = (int)((long)weight.TilesPerGroup * (slice + 1) / partsPerGroup);
        int last = rows.Starts[group + 1];
        float* results = stackalloc float[8 * PackedWeight.TileRows]; // [height, 16]
        for (int place = rows.Starts[group]; place < last;)
        {
            int height = ProductRows.TileHeight(last - place);
            byte* activations = input + (long)place * weight.BlocksPerRow * PackedActivations.BlockBytes;
            for (int tile = first; tile < end; tile++)
            {
                Tile(weight.Tile(group, tile), activations, height, results);
                int column = tile * PackedWeight.TileRows;
                int width = Math.Min(PackedWeight.TileRows, weight.Rows - column);
                for (int lane = 0; lane < height; lane++)
                {
                    float* target = (float*)output.Address + (long)rows.Output(place + lane) * output.Stride + column;
                    new ReadOnlySpan<float>(results + lane * PackedWeight.TileRows, width).CopyTo(new Span<float>(target, width));
                }
            }
            place += height;
        }
    }

    private void Tile(byte* tile, byte* activations, int height, float* results)
    {
        int blocks = weight.BlocksPerRow;
        switch (path, height)
        {
            case (CpuPath.Avx512, 8): Avx512Tile.Eight(tile, activations, blocks, results); break;
            case (CpuPath.Avx512, 4): Avx512Tile.Four(tile, activations, blocks, results); break;
            case (CpuPath.Avx512, _): Avx512Tile.One(tile, activations, blocks, results); break;
            case (CpuPath.Avx2, 1): Avx2Tile.One(tile, activations, blocks, results); break;
            case (CpuPath.Avx2, _): Avx2Tile.Many(tile, activations, blocks, height, results); break;
            default: PortableTile.Any(tile, activations, blocks, height, results); break;
        }
    }
}
