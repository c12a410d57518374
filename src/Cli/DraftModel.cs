using XDeepServe.Kernels;
using XDeepServe.Models;
using XDeepServe.Models.Loading;

namespace XDeepServe.Cli;

/// <summary>A smaller model that proposes tokens, with its files. Owns both.</summary>
internal sealed class DraftModel : IDisposable
{
    private readonly Checkpoint checkpoint;

    private DraftModel(Checkpoint checkpoint, Model model) => (this.checkpoint, Model) = (checkpoint, model);

    /// <summary>The network.</summary>
    public Model Model { get; }

    /// <summary>Opens one.</summary>
    /// <param name="path">Folder or GGUF file.</param>
    /// <param name="backend">Runs it; stays the caller's.</param>
    /// <param name="options">Those of the large model.</param>
    /// <param name="length">Longest context that is served.</param>
    /// <exception cref="ModelLoadException">The model cannot be served; says what to do.</exception>
    public static DraftModel Load(string path, Backend backend, ModelOptions options, int length)
    {
        Checkpoint checkpoint = Checkpoint.Open(path);
        try
        {
            return new DraftModel(checkpoint, Model.Load(checkpoint, backend, options with { MaxModelLength = length, Drafts = false }));
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Model.Dispose();
        checkpoint.Dispose();
    }
}
