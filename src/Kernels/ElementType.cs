namespace XDeepServe.Kernels;

/// <summary>How the values of a tensor or a weight are stored.</summary>
public enum ElementType : byte
{
    /// <summary>IEEE single precision, 4 bytes.</summary>
    F32,
    /// <summary>IEEE half precision, 2 bytes; read from files only and widened to <see cref="F32"/> when prepared.</summary>
    F16,
    /// <summary>The upper half of a single, 2 bytes.</summary>
    BF16,
    /// <summary>Blocks of 32 signed bytes behind one half-precision scale (34 bytes, the GGUF layout).</summary>
    Q8_0,
    /// <summary>Signed 32-bit integer, 4 bytes: token ids, positions, lengths, block tables.</summary>
    I32,
}

/// <summary>Sizes of <see cref="ElementType"/> values.</summary>
public static class ElementTypes
{
    /// <summary>Values in one <see cref="ElementType.Q8_0"/> block.</summary>
    public const int BlockLength = 32;

    /// <summary>Bytes of one <see cref="ElementType.Q8_0"/> block: a half-precision scale, then 32 signed bytes.</summary>
    public const int BlockBytes = 34;

    /// <summary>Bytes that <paramref name="count"/> consecutive values take.</summary>
    /// <param name="type">Storage type.</param>
    /// <param name="count">Number of values; a multiple of 32 for <see cref="ElementType.Q8_0"/>.</param>
    public static long Bytes(this ElementType type, long count) => type switch
    {
        ElementType.F32 or ElementType.I32 => count * 4,
        ElementType.F16 or ElementType.BF16 => count * 2,
        ElementType.Q8_0 => count / BlockLength * BlockBytes,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Unknown element type."),
    };
}
