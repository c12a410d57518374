using System.Runtime.CompilerServices;

namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// The integer product of quantised rows with packed weights. A result is the sum over records, in order, of
/// (exact integer sum) x (weight scale x row scale): the same bits in every tile, on every path.
/// </summary>
/// <param name="rows">Which rows meet which matrix.</param>
/// <param name="weight">The weight.</param>
/// <param name="input">Quantised rows, as <see cref="PackedActivations"/> writes them.</param>
/// <param name="output">F32 rows.</param>
/// <param name="partsPerGroup">Parts of a matrix.</param>
/// <param name="path">Instructions.</param>
/// <param name="room">Sums of a tile, for types that are expanded: <paramref name="roomFloats"/> a worker, 16 for each place of a matrix.</param>
/// <param name="roomFloats">Length of a worker's room.</param>
internal readonly unsafe struct PackedProduct(
    ProductRows rows, PackedWeight weight, byte* input, Tensor output, int partsPerGroup, CpuPath path, float* room, long roomFloats) : IPoolWork
{
    private const int ExpandedRecords = 16;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute(int part, int worker)
    {
        int group = rows.Used[part / partsPerGroup];
        int slice = part % partsPerGroup;
        int first = (int)((long)weight.TilesPerGroup * slice / partsPerGroup);
        int end = (int)((long)weight.TilesPerGroup * (slice + 1) / partsPerGroup);
        if (!Expands(weight.Layout, rows.Starts[group + 1] - rows.Starts[group]))
            InPlace(group, first, end);
        else
            Expanded(group, first, end, room + worker * roomFloats);
    }

    /// <summary>
    /// Whether a tile is expanded before it meets its rows: types of fewer bits always, Q8_0 where there are so many rows that widening its
    /// scales once for all of them pays.
    /// </summary>
    public static bool Expands(TileLayout layout, int inputRows) => layout.Blocks is not null || (layout.Type == ElementType.Q8_0 && inputRows > 8);

    /// <summary>8-bit types are read as they are packed.</summary>
    private void InPlace(int group, int first, int end)
    {
        int last = rows.Starts[group + 1];
        float* results = stackalloc float[8 * PackedWeight.TileRows]; // [height, 16]
        for (int place = rows.Starts[group]; place < last;)
        {
            int height = ProductRows.TileHeight(last - place);
            byte* activations = input + (long)place * weight.RecordsPerRow * PackedActivations.BlockBytes;
            for (int tile = first; tile < end; tile++)
            {
                byte* from = weight.Tile(group, tile);
                new Span<float>(results, height * PackedWeight.TileRows).Clear();
                if (weight.Type == ElementType.I8)
                {
                    Add<ByteRecord>(from + weight.Layout.FrontBytes, activations, weight.RecordsPerRow, height, results);
                    for (int lane = 0; lane < height; lane++)
                        VectorMath.Multiply(results + lane * PackedWeight.TileRows, (float*)from, PackedWeight.TileRows);
                }
                else
                {
                    Add<HalfRecord>(from, activations, weight.RecordsPerRow, height, results);
                }
                Write(results, place, height, tile);
            }
            place += height;
        }
    }

    /// <summary>Integers become signed bytes and scales singles, a few records at a time for all input rows.</summary>
    private void Expanded(int group, int first, int end, float* sums)
    {
        int start = rows.Starts[group], last = rows.Starts[group + 1], total = weight.RecordsPerRow;
        byte* expanded = stackalloc byte[ExpandedRecords * Expansion.RecordBytes];
        for (int tile = first; tile < end; tile++)
        {
            new Span<float>(sums, (last - start) * PackedWeight.TileRows).Clear();
            for (int record = 0; record < total; record += ExpandedRecords)
            {
                int count = Math.Min(ExpandedRecords, total - record);
                Expansion.Expand(weight.Layout, weight.Tile(group, tile), record, count, expanded);
                for (int place = start, height; place < last; place += height)
                {
                    height = ProductRows.TileHeight(last - place);
                    byte* activations = input + ((long)place * total + (long)record * height) * PackedActivations.BlockBytes;
                    float* results = sums + (long)(place - start) * PackedWeight.TileRows;
                    if (weight.Layout.Blocks is { MinimumAt: >= 0 })
                        Add<OffsetRecord>(expanded, activations, count, height, results);
                    else if (weight.Layout.PartBytes > 0)
                        Add<SplitRecord>(expanded, activations, count, height, results);
                    else
                        Add<PlainRecord>(expanded, activations, count, height, results);
                }
            }
            Write(sums, start, last - start, tile);
        }
    }

    private void Write(float* results, int place, int height, int tile)
    {
        int column = tile * PackedWeight.TileRows;
        int width = Math.Min(PackedWeight.TileRows, weight.Rows - column);
        for (int lane = 0; lane < height; lane++)
        {
            float* target = (float*)output.Address + (long)rows.Output(place + lane) * output.Stride + column;
            new ReadOnlySpan<float>(results + lane * PackedWeight.TileRows, width).CopyTo(new Span<float>(target, width));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Add<TRecord>(byte* records, byte* activations, int count, int height, float* results) where TRecord : struct, IRecord
    {
        switch (path, height)
        {
            case (CpuPath.Avx512, 8): Avx512Tile.Eight<TRecord>(records, activations, count, results); break;
            case (CpuPath.Avx512, 4): Avx512Tile.Four<TRecord>(records, activations, count, results); break;
            case (CpuPath.Avx512, _): Avx512Tile.One<TRecord>(records, activations, count, results); break;
            case (CpuPath.Avx2, 1): Avx2Tile.One<TRecord>(records, activations, count, results); break;
            case (CpuPath.Avx2, _): Avx2Tile.Many<TRecord>(records, activations, count, height, results); break;
            default: PortableTile.Any<TRecord>(records, activations, count, height, results); break;
        }
    }
}
