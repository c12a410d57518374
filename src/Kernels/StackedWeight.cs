namespace XDeepServe.Kernels;

/// <summary>
/// Several weights used as one matrix, one behind the other, each in its own type: projections that a file stores in different
/// types. <see cref="Backend.Linear"/> runs them one by one. Owns them.
/// </summary>
public sealed class StackedWeight : Weight
{
    /// <summary>Stacks weights of one group and equal columns.</summary>
    /// <exception cref="ArgumentException">They do not fit together.</exception>
    public StackedWeight(params IReadOnlyList<Weight> parts)
        : base(parts[0].Type, 1, parts.Sum(part => part.Rows), parts[0].Columns)
    {
        if (parts.Any(part => part.Groups != 1 || part.Columns != Columns))
            throw new ArgumentException("Stacked weights must have one group and equal columns.", nameof(parts));
        Parts = parts;
    }

    /// <summary>The weights, first rows first.</summary>
    public IReadOnlyList<Weight> Parts { get; }

    /// <inheritdoc/>
    public override long Bytes => Parts.Sum(part => part.Bytes);

    /// <inheritdoc/>
    protected override void Release()
    {
        foreach (Weight part in Parts)
            part.Dispose();
    }
}
