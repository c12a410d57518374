namespace XDeepServe.Xccl.Tokens;

/// <summary>How the values of a row are stored, in the caller's memory or on the way.</summary>
public enum WireType
{
    /// <summary>IEEE single precision.</summary>
    F32,
    /// <summary>The upper half of a single.</summary>
    BF16,
    /// <summary>Signed bytes and one scale for the row: largest magnitude / 127. On the way only. [paper 4.7]</summary>
    I8,
}
