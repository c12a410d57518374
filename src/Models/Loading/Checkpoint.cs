using System.Diagnostics.CodeAnalysis;
using System.Text.Json.Nodes;

namespace XDeepServe.Models.Loading;

/// <summary>An opened folder or file of weights.</summary>
public abstract class Checkpoint : IDisposable
{
    /// <summary>Kind of file.</summary>
    public abstract string Format { get; }

    /// <summary>config.json.</summary>
    public abstract JsonObject Config { get; }

    /// <summary>generation_config.json.</summary>
    public abstract JsonObject? GenerationConfig { get; }

    /// <summary>Finds a tensor.</summary>
    public abstract bool TryGet(string name, [NotNullWhen(true)] out StoredTensor? tensor);

    /// <summary>Names of all tensors.</summary>
    public abstract IEnumerable<string> Names { get; }

    /// <summary>Finds a tensor or complains.</summary>
    public StoredTensor Get(string name) =>
        TryGet(name, out StoredTensor? tensor) ? tensor : throw new ModelLoadException($"The tensor '{name}' is missing.");

    /// <inheritdoc/>
    public void Dispose()
    {
        Release();
        GC.SuppressFinalize(this);
    }

    /// <summary>Closes the files.</summary>
    protected abstract void Release();
}
