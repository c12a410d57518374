namespace XDeepServe.Kernels.Naive;

/// <summary>A weight of the naive backend: singles, as read.</summary>
internal sealed class NaiveWeight(ElementType type, int groups, int rows, int columns, float[] values)
    : Weight(type, groups, rows, columns)
{
    /// <summary>Row <paramref name="row"/> of matrix <paramref name="group"/>.</summary>
    public ReadOnlySpan<float> Row(int group, int row) => values.AsSpan((group * Rows + row) * Columns, Columns);

    /// <summary>The values of a matrix.</summary>
    public Span<float> Group(int group) => values.AsSpan(group * Rows * Columns, Rows * Columns);

    /// <inheritdoc/>
    protected override void Release()
    {
    }
}
