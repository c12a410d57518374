namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// How a packed weight of a type lies. Sixteen output rows form a tile; a tile is a run of blocks of columns, a block a header
/// with one scale a row and records of 32 columns each. Bytes of 8-bit types lie in a record as the product reads them: for each
/// pair of columns 16 rows x 2 signed bytes. Smaller integers are planes of it: half bytes (byte i of vector v holds byte i of
/// pair v and of pair v + 8), then the rest of the bits.
/// </summary>
internal sealed class TileLayout
{
    /// <summary>Output rows in a tile.</summary>
    public const int Rows = 16;

    /// <summary>Pairs of columns in a record.</summary>
    public const int Pairs = ElementTypes.BlockLength / 2;

    /// <summary>Bytes of a record's integers once they are signed bytes.</summary>
    public const int WholeBytes = Rows * ElementTypes.BlockLength;

    private const int NibbleBytes = WholeBytes / 2;

    /// <summary>Describes a packed type.</summary>
    public TileLayout(ElementType type)
    {
        Type = type;
        Blocks = BlockLayout.Of(type);
        Records = type.Block().Values <= ElementTypes.BlockLength ? 1 : type.Block().Values / ElementTypes.BlockLength;
        FrontBytes = type == ElementType.I8 ? Rows * sizeof(float) : 0;
        HeaderBytes = type == ElementType.I8 ? 0 : Rows * sizeof(ushort) * (Blocks is { MinimumAt: >= 0 } ? 2 : 1);
        PartBytes = Blocks is { Parts: > 0 } ? 2 * Rows : 0;
        RecordBytes = PartBytes + (Blocks is null ? WholeBytes : NibbleBytes + WholeBytes / 8 * (Blocks.Bits - 4));
    }

    /// <summary>Whether a type can be packed.</summary>
    public static bool Packs(ElementType type) => type is ElementType.Q8_0 or ElementType.I8 || BlockLayout.Of(type) is not null;

    /// <summary>The stored type.</summary>
    public ElementType Type { get; }

    /// <summary>How the type's blocks lie in files; null for 8-bit types, whose integers need no unpacking.</summary>
    public BlockLayout? Blocks { get; }

    /// <summary>Records of 32 columns in a block.</summary>
    public int Records { get; }

    /// <summary>Bytes in front of a tile's blocks: the rows' factors of I8, F32.</summary>
    public int FrontBytes { get; }

    /// <summary>Bytes of a block's header: 16 half-precision scales, then 16 minimums if there are any.</summary>
    public int HeaderBytes { get; }

    /// <summary>Bytes of part scales at the front of a record: 16 scales, then 16 minimums or the scales of the second half.</summary>
    public int PartBytes { get; }

    /// <summary>Bytes of a record.</summary>
    public int RecordBytes { get; }

    /// <summary>Bytes of a block.</summary>
    public int BlockBytes => HeaderBytes + Records * RecordBytes;
}
