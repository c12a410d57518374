using XDeepServe.Kernels;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models.Tests;

/// <summary>A model with the checkpoint and the backend that it lives on.</summary>
internal sealed class LoadedModel : IDisposable
{
    public LoadedModel(Checkpoint checkpoint, Backend backend, ModelOptions? options = null)
    {
        Checkpoint = checkpoint;
        Backend = backend;
        Model = Model.Load(checkpoint, backend, options ?? new ModelOptions());
    }

    public LoadedModel(string folder, Backend backend, ModelOptions? options = null)
        : this(Checkpoint.Open(folder), backend, options)
    {
    }

    public Checkpoint Checkpoint { get; }

    public Backend Backend { get; }

    public Model Model { get; }

    public Runner CreateRunner(int blocks = 64) => new(Model, Backend, blocks: blocks);

    public void Dispose()
    {
        Model.Dispose();
        Backend.Dispose();
        Checkpoint.Dispose();
    }
}
