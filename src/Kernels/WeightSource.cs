namespace XDeepServe.Kernels;

/// <summary>
/// Where the rows of a weight matrix lie before a backend prepares them: row-major pieces, one behind the other.
/// The memory (as a rule a mapped file) stays valid for as long as any weight made from it lives.
/// </summary>
/// <param name="Type">Storage type: any but I32.</param>
/// <param name="Columns">Input features: elements in a row.</param>
/// <param name="Groups">Number of equally tall matrices in the source: experts, or 1.</param>
/// <param name="Pieces">The pieces in order; group g holds rows g·R to (g+1)·R - 1 of their concatenation.</param>
public sealed record WeightSource(ElementType Type, int Columns, int Groups, IReadOnlyList<WeightPiece> Pieces)
{
    /// <summary>Rows over all groups.</summary>
    public int TotalRows => Pieces.Sum(piece => piece.Rows);

    /// <summary>Output features: rows of one group.</summary>
    public int Rows => TotalRows / Groups;
}

/// <summary>A contiguous run of rows.</summary>
/// <param name="Address">First byte.</param>
/// <param name="Rows">Number of rows.</param>
/// <param name="File">The mapped file that holds them, if one does: a backend that copied the rows gives their pages back.</param>
/// <param name="Factors">
/// For F8 and I8: F32 factors of this piece, squares and rows counted from its first row (<see cref="ElementTypes.Factors"/>); as
/// long-lived as the rows. 0 for other types.
/// </param>
/// <param name="Seed">Where there is no address: names random values that a backend makes itself, if it <see cref="Backend.MakesRandomWeights"/>.</param>
public readonly record struct WeightPiece(nint Address, int Rows, MappedFile? File = null, nint Factors = 0, ulong Seed = 0);
