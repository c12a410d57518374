namespace XDeepServe.Kernels;

/// <summary>
/// A weight matrix as a backend wants it: <c>[Groups, Rows, Columns]</c>, output features by input features.
/// Made by <see cref="Backend.Prepare"/>; owns what the backend copied, never the mapped file.
/// </summary>
public abstract class Weight : IDisposable
{
    /// <summary>Describes a prepared weight.</summary>
    protected Weight(ElementType type, int groups, int rows, int columns)
    {
        Type = type;
        Groups = groups;
        Rows = rows;
        Columns = columns;
    }

    /// <summary>Storage type after preparation.</summary>
    public ElementType Type { get; }

    /// <summary>Number of matrices: experts, or 1.</summary>
    public int Groups { get; }

    /// <summary>Output features of one matrix.</summary>
    public int Rows { get; }

    /// <summary>Input features.</summary>
    public int Columns { get; }

    /// <summary>Bytes of the values, whether mapped or copied; factors beside them are not counted.</summary>
    public virtual long Bytes => Type.Bytes((long)Groups * Rows * Columns);

    /// <inheritdoc/>
    public void Dispose()
    {
        Release();
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives back what the backend copied.</summary>
    protected abstract void Release();
}
