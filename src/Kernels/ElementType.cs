namespace XDeepServe.Kernels;

/// <summary>How the values of a tensor or a weight are stored.</summary>
public enum ElementType : byte
{
    /// <summary>IEEE single precision, 4 bytes.</summary>
    F32,
    /// <summary>IEEE half precision, 2 bytes.</summary>
    F16,
    /// <summary>The upper half of a single, 2 bytes.</summary>
    BF16,
    /// <summary>Blocks of 32 signed bytes behind one half-precision scale (34 bytes, the GGUF layout).</summary>
    Q8_0,
    /// <summary>Signed 32-bit integer, 4 bytes: token ids, positions, lengths, block tables.</summary>
    I32,
    /// <summary>Blocks of 32 values in 4 bits and one half-precision scale (18 bytes, the GGUF layout).</summary>
    Q4_0,
    /// <summary>Blocks of 32 values in 5 bits and one half-precision scale (22 bytes, the GGUF layout).</summary>
    Q5_0,
    /// <summary>Blocks of 256 values in 4 bits; 8 parts of 32 with a 6-bit scale and a 6-bit minimum each (144 bytes, the GGUF layout).</summary>
    Q4_K,
    /// <summary>Blocks of 256 values in 5 bits; 8 parts of 32 with a 6-bit scale and a 6-bit minimum each (176 bytes, the GGUF layout).</summary>
    Q5_K,
    /// <summary>Blocks of 256 values in 6 bits; 16 parts of 16 with an 8-bit scale each (210 bytes, the GGUF layout).</summary>
    Q6_K,
    /// <summary>
    /// 8-bit floats, 4 bits of exponent and 3 of mantissa (E4M3 without infinities), 1 byte; beside them one F32 factor for each
    /// square of 128 x 128 values (<c>weight_scale_inv</c>).
    /// </summary>
    F8,
    /// <summary>
    /// Signed bytes, 1 byte; beside them one F32 factor for each row (<c>weight_scale</c>). A product quantises its input rows
    /// to signed bytes too, with one factor a row.
    /// </summary>
    I8,
}

/// <summary>Sizes of <see cref="ElementType"/> values.</summary>
public static class ElementTypes
{
    /// <summary>Values in one <see cref="ElementType.Q8_0"/> block.</summary>
    public const int BlockLength = 32;

    /// <summary>Bytes of one <see cref="ElementType.Q8_0"/> block: a half-precision scale, then 32 signed bytes.</summary>
    public const int BlockBytes = 34;

    /// <summary>Rows and columns of the squares that share a factor in <see cref="ElementType.F8"/>.</summary>
    public const int SquareLength = 128;

    /// <summary>Bytes that <paramref name="count"/> consecutive values take; factors beside them are not counted.</summary>
    /// <param name="type">Storage type.</param>
    /// <param name="count">Number of values; whole blocks.</param>
    public static long Bytes(this ElementType type, long count)
    {
        (int values, int bytes) = type.Block();
        return count / values * bytes;
    }

    /// <summary>Values in a block, the least that can be stored, and the bytes it takes.</summary>
    public static (int Values, int Bytes) Block(this ElementType type) => type switch
    {
        ElementType.F32 or ElementType.I32 => (1, 4),
        ElementType.F16 or ElementType.BF16 => (1, 2),
        ElementType.F8 or ElementType.I8 => (1, 1),
        ElementType.Q8_0 => (BlockLength, BlockBytes),
        ElementType.Q4_0 => (BlockLength, 18),
        ElementType.Q5_0 => (BlockLength, 22),
        ElementType.Q4_K => (256, 144),
        ElementType.Q5_K => (256, 176),
        ElementType.Q6_K => (256, 210),
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Unknown element type."),
    };

    /// <summary>Whether rows of this many values are whole blocks.</summary>
    public static bool Fits(this ElementType type, long columns) => columns % type.Block().Values == 0;

    /// <summary>Whether the type is a plain number per value, without factors: F32, F16 or BF16.</summary>
    public static bool IsPlain(this ElementType type) => type is ElementType.F32 or ElementType.F16 or ElementType.BF16;

    /// <summary>Whether F32 factors lie beside the values: <see cref="ElementType.F8"/> and <see cref="ElementType.I8"/>.</summary>
    public static bool HasFactors(this ElementType type) => type is ElementType.F8 or ElementType.I8;

    /// <summary>Number of F32 factors beside a matrix: a row-major grid of squares, or one for each row; 0 for other types.</summary>
    public static long Factors(this ElementType type, long rows, long columns) => type switch
    {
        ElementType.F8 => Squares(rows) * Squares(columns),
        ElementType.I8 => rows,
        _ => 0,
    };

    /// <summary>Factors that belong to row <paramref name="row"/> of a matrix: index of the first, and how many.</summary>
    public static (long First, int Count) FactorsOf(this ElementType type, long row, long columns) => type switch
    {
        ElementType.F8 => (row / SquareLength * Squares(columns), (int)Squares(columns)),
        ElementType.I8 => (row, 1),
        _ => (0, 0),
    };

    private static long Squares(long length) => (length + SquareLength - 1) / SquareLength;
}
