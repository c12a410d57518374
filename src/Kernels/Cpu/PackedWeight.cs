using System.Runtime.Intrinsics;

namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// A quantised weight as the integer product reads it, see <see cref="TileLayout"/>. It takes the bytes of the blocks it was
/// made from, or (types with part scales) 2.8 % more at most. Missing rows of a last tile are zero.
/// </summary>
internal sealed unsafe class PackedWeight : Weight
{
    /// <summary>Output rows in a tile.</summary>
    public const int TileRows = TileLayout.Rows;

    private readonly NativeBlock memory;

    private PackedWeight(WeightSource source, TileLayout layout)
        : base(layout.Type, source.Groups, source.Rows, source.Columns)
    {
        Layout = layout;
        RecordsPerRow = source.Columns / ElementTypes.BlockLength;
        TilesPerGroup = (source.Rows + TileRows - 1) / TileRows;
        TileBytes = (layout.FrontBytes + (long)RecordsPerRow / layout.Records * layout.BlockBytes + 63) / 64 * 64;
        memory = new NativeBlock((long)Groups * TilesPerGroup * TileBytes);
    }

    /// <summary>Where things lie.</summary>
    public TileLayout Layout { get; }

    /// <summary>Records of 32 columns in a row.</summary>
    public int RecordsPerRow { get; }

    /// <summary>Tiles that hold the rows of one matrix.</summary>
    public int TilesPerGroup { get; }

    /// <summary>Bytes of one tile.</summary>
    public long TileBytes { get; }

    /// <summary>First byte of a tile of a matrix.</summary>
    public byte* Tile(int group, int tile) => memory.Start + ((long)group * TilesPerGroup + tile) * TileBytes;

    /// <summary>Packs a weight, tiles in parallel; values that are of another type are quantised on the way.</summary>
    public static PackedWeight Pack(WeightSource source, ElementType type, WorkerPool pool)
    {
        PackedWeight weight = new(source, new TileLayout(type));
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
        byte* tile = Tile(row / Rows, row % Rows / TileRows);
        int lane = row % Rows % TileRows;
        byte* room = stackalloc byte[Expansion.RecordBytes];
        for (int record = 0; record < RecordsPerRow; record++, values += ElementTypes.BlockLength)
        {
            Expansion.Expand(Layout, tile, record, 1, room);
            float* scales = (float*)room;
            sbyte* pairs = (sbyte*)room + Expansion.ScaleBytes;
            for (int i = 0; i < ElementTypes.BlockLength; i++)
            {
                float scale = scales[(Layout.Blocks is { PartLength: 16 } && i >= 16 ? TileRows : 0) + lane];
                float minimum = Layout.Blocks is { MinimumAt: >= 0 } ? scales[TileRows + lane] : 0;
                values[i] = scale * pairs[(i / 2 * TileRows + lane) * 2 + i % 2] - minimum;
            }
        }
    }

    /// <summary>Takes another weight's tiles for a matrix.</summary>
    public void Replace(int group, PackedWeight source, int from)
    {
        long bytes = TilesPerGroup * TileBytes;
        Buffer.MemoryCopy(source.Tile(from, 0), Tile(group, 0), bytes, bytes);
    }

    /// <inheritdoc/>
    protected override void Release() => memory.Dispose();

    private void PackTile(SourceRows source, int group, int tile, byte* stored, float* values)
    {
        byte* target = Tile(group, tile);
        new Span<byte>(target, (int)TileBytes).Clear();
        int height = Math.Min(TileRows, Rows - tile * TileRows);
        long rowBytes = Type.Bytes(Columns);
        byte** rows = stackalloc byte*[TileRows];
        for (int lane = 0; lane < height; lane++)
        {
            rows[lane] = source.In(Type, group * Rows + tile * TileRows + lane, stored + lane * rowBytes, values, out float factor);
            if (Layout.FrontBytes > 0)
                ((float*)target)[lane] = factor;
        }
        target += Layout.FrontBytes;
        for (int block = 0; block < RecordsPerRow / Layout.Records; block++, target += Layout.BlockBytes)
        {
            if (Layout.Blocks is null)
                PackBytes(rows, height, block, target);
            else
                PackPlanes(Layout.Blocks, rows, height, block, target);
        }
    }

    /// <summary>8-bit types: the bytes as they are, two columns of a row at a time.</summary>
    private void PackBytes(byte** rows, int height, int block, byte* target)
    {
        int front = Layout.HeaderBytes > 0 ? sizeof(ushort) : 0;
        for (int lane = 0; lane < height; lane++)
        {
            byte* from = rows[lane] + (long)block * (ElementTypes.BlockLength + front);
            if (front > 0)
                ((ushort*)target)[lane] = *(ushort*)from;
            ushort* pairs = (ushort*)(target + Layout.HeaderBytes) + lane;
            for (int pair = 0; pair < TileLayout.Pairs; pair++)
                pairs[pair * TileRows] = ((ushort*)(from + front))[pair];
        }
    }

    private void PackPlanes(BlockLayout blocks, byte** rows, int height, int block, byte* target)
    {
        byte* whole = stackalloc byte[8 * TileLayout.WholeBytes]; // [records, pairs, rows, 2]
        Span<sbyte> values = stackalloc sbyte[BlockLayout.MostValues], scales = stackalloc sbyte[BlockLayout.MostParts];
        Span<byte> minimums = stackalloc byte[BlockLayout.MostParts];
        new Span<byte>(whole, Layout.Records * TileLayout.WholeBytes).Clear();
        for (int lane = 0; lane < height; lane++)
        {
            ReadOnlySpan<byte> from = new(rows[lane] + (long)block * blocks.Bytes, blocks.Bytes);
            ((ushort*)target)[lane] = *(ushort*)(rows[lane] + (long)block * blocks.Bytes + blocks.ScaleAt);
            if (blocks.MinimumAt >= 0)
                ((ushort*)target)[TileRows + lane] = *(ushort*)(rows[lane] + (long)block * blocks.Bytes + blocks.MinimumAt);
            blocks.Unpack(from, values, scales, minimums);
            for (int i = 0; i < blocks.Values; i++)
                whole[(i / 2 * TileRows + lane) * 2 + i % 2] = (byte)(values[i] + blocks.Zero);
            for (int record = 0; record < Layout.Records && blocks.Parts > 0; record++)
            {
                byte* parts = target + Layout.HeaderBytes + record * Layout.RecordBytes;
                bool two = blocks.PartLength < ElementTypes.BlockLength;
                parts[lane] = (byte)scales[two ? 2 * record : record];
                parts[TileRows + lane] = two ? (byte)scales[2 * record + 1] : minimums[record];
            }
        }
        for (int record = 0; record < Layout.Records; record++)
            PackRecord(blocks, whole + record * TileLayout.WholeBytes, target + Layout.HeaderBytes + record * Layout.RecordBytes + Layout.PartBytes);
    }

    private static void PackRecord(BlockLayout blocks, byte* whole, byte* target)
    {
        const int Width = 32; // bytes of a pair
        for (int pair = 0; pair < 8; pair++, target += Width)
            ((Low(pair) & Vector256.Create((byte)15)) | (Low(pair + 8) << 4)).Store(target);
        int bits = blocks.Bits - 4, perByte = bits == 0 ? 0 : 8 / bits;
        for (int first = 0; perByte > 0 && first < TileLayout.Pairs; first += perByte, target += Width)
        {
            Vector256<byte> plane = Vector256<byte>.Zero;
            for (int i = 0; i < perByte; i++)
                plane |= (Low(first + i) >> 4) << i * bits;
            plane.Store(target);
        }

        Vector256<byte> Low(int pair) => Vector256.Load(whole + pair * Width);
    }

    private readonly struct Packing(PackedWeight weight, SourceRows source, int tilesPerPart, int tiles) : IPoolWork
    {
        public void Execute(int part, int worker)
        {
            byte[] stored = new byte[TileRows * weight.Type.Bytes(weight.Columns)];
            float[] values = new float[weight.Columns];
            fixed (byte* storedStart = stored)
            fixed (float* valueStart = values)
            {
                for (int tile = part * tilesPerPart; tile < Math.Min(tiles, (part + 1) * tilesPerPart); tile++)
                    weight.PackTile(source, tile / weight.TilesPerGroup, tile % weight.TilesPerGroup, storedStart, valueStart);
            }
        }
    }
}
