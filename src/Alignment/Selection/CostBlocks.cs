namespace XDeepServe.Alignment.Selection;

/// <summary>A matrix of transport costs that is looked at some rows at a time, from several threads.</summary>
public abstract class CostBlocks
{
    /// <summary>Rows of a block; the last may have fewer.</summary>
    public const int BlockRows = 128;

    /// <summary>Sources: candidates.</summary>
    public abstract int Rows { get; }

    /// <summary>Sinks: targets.</summary>
    public abstract int Columns { get; }

    /// <summary>Blocks.</summary>
    public int Count => (Rows + BlockRows - 1) / BlockRows;

    /// <summary>Rows of a block.</summary>
    public int RowsOf(int block) => Math.Min(BlockRows, Rows - (block * BlockRows));

    /// <summary>Costs of a block's rows.</summary>
    /// <param name="block">From 0.</param>
    /// <param name="scratch">May be written: <c>[BlockRows, columns]</c>.</param>
    /// <returns><c>[rows of the block, columns]</c>; good until the scratch is used again.</returns>
    public abstract ReadOnlySpan<float> Block(int block, float[] scratch);
}

/// <summary>Costs that lie in memory.</summary>
/// <param name="costs"><c>[rows, columns]</c>, finite.</param>
/// <param name="rows">Sources.</param>
/// <param name="columns">Sinks.</param>
public sealed class DenseCosts(float[] costs, int rows, int columns) : CostBlocks
{
    /// <inheritdoc/>
    public override int Rows => rows;

    /// <inheritdoc/>
    public override int Columns => columns;

    /// <inheritdoc/>
    public override ReadOnlySpan<float> Block(int block, float[] scratch) => costs.AsSpan(block * BlockRows * columns, RowsOf(block) * columns);
}
