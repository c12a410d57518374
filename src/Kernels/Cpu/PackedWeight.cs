namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// An 8-bit weight as the integer product reads it. Sixteen output rows form a tile; a tile holds one record after the
/// other for each 32 columns: 16 half-precision scales (one per row), then for each pair of columns 16 x 2 signed bytes.
/// The record is as long as the 16 blocks it was made from: 544 bytes. Missing rows of a last tile are zero.
/// </summary>
internal sealed unsafe class PackedWeight : Weight
{
    /// <summary>Output rows in a tile.</summary>
    public const int TileRows = 16;

    /// <summary>Bytes of one record: 16 rows by 32 columns.</summary>
    public const int RecordBytes = TileRows * ElementTypes.BlockBytes;

    private readonly NativeBlock memory;

    private PackedWeight(WeightSource source)
        : base(ElementType.Q8_0, source.Groups, source.Rows, source.Columns)
    {
        BlocksPerRow = source.Columns / ElementTypes.BlockLength;
        TilesPerGroup = (source.Rows + TileRows - 1) / TileRows;
        memory = new NativeBlock((long)Groups * TilesPerGroup * TileBytes);
    }

    /// <summary>Blocks of 32 columns in a row.</summary>
    public int BlocksPerRow { get; }

    /// <summary>Tiles that hold the rows of one matrix.</summary>
    public int TilesPerGroup { get; }

    /// <summary>Bytes of one tile.</summary>
    public long TileBytes => (long)BlocksPerRow * RecordBytes;

    /// <summary>First byte of a tile of a matrix.</summary>
    public byte* Tile(int group, int tile) => memory.Start + ((long)group * TilesPerGroup + tile) * TileBytes;

    /// <summary>Packs a weight, tiles in parallel; values that are not 8-bit blocks yet are quantised on the way.</summary>
    public static PackedWeight Pack(WeightSource source, WorkerPool pool)
    {
        PackedWeight weight = new(source);
        SourceRows rows = new(source);
        int tiles = weight.Groups * weight.TilesPerGroup;
        const int TilesPerPart = 8;
        pool.Run((tiles + TilesPerPart - 1) / TilesPerPart, new Packing(weight, rows, TilesPerPart, tiles));
        rows.Drop();
        return weight;
    }

    /// <summary>Restores one row.</summary>
    /// <param name="row">Row over all groups.</param>
    /// <param name="values">Columns values.</param>
    public void Restore(int row, float* values)
    {
        byte* record = Tile(row / Rows, row % Rows / TileRows);
        int lane = row % Rows % TileRows;
        for (int block = 0; block < BlocksPerRow; block++, record += RecordBytes, values += ElementTypes.BlockLength)
        {
            float scale = (float)((Half*)record)[lane];
            sbyte* pairs = (sbyte*)record + TileRows * sizeof(Half);
            for (int pair = 0; pair < ElementTypes.BlockLength / 2; pair++)
            {
                values[2 * pair] = scale * pairs[(pair * TileRows + lane) * 2];
                values[2 * pair + 1] = scale * pairs[(pair * TileRows + lane) * 2 + 1];
            }
        }
    }

    /// <inheritdoc/>
    protected override void Release() => memory.Dispose();

    private void PackTile(SourceRows source, int group, int tile, byte* blocks, float* values)
    {
        byte* target = Tile(group, tile);
        new Span<byte>(target, (int)TileBytes).Clear();
        int height = Math.Min(TileRows, Rows - tile * TileRows);
        for (int lane = 0; lane < height; lane++)
        {
            byte* from = source.Blocks(group * Rows + tile * TileRows + lane, blocks, values);
            for (int block = 0; block < BlocksPerRow; block++, from += ElementTypes.BlockBytes)
            {
                byte* record = target + (long)block * RecordBytes;
                ((ushort*)record)[lane] = *(ushort*)from;
                ushort* pairs = (ushort*)(record + TileRows * sizeof(Half)) + lane;
                for (int pair = 0; pair < ElementTypes.BlockLength / 2; pair++)
                    pairs[pair * TileRows] = ((ushort*)(from + sizeof(ushort)))[pair];
            }
        }
    }

    private readonly struct Packing(PackedWeight weight, SourceRows source, int tilesPerPart, int tiles) : IPoolWork
    {
        public void Execute(int part, int worker)
        {
            byte[] blocks = new byte[weight.BlocksPerRow * ElementTypes.BlockBytes];
            float[] values = new float[weight.Columns];
            fixed (byte* blockStart = blocks)
            fixed (float* valueStart = values)
            {
                for (int tile = part * tilesPerPart; tile < Math.Min(tiles, (part + 1) * tilesPerPart); tile++)
                    weight.PackTile(source, tile / weight.TilesPerGroup, tile % weight.TilesPerGroup, blockStart, valueStart);
            }
        }
    }
}
