using XDeepServe.Kernels;

namespace XDeepServe.Models.Calibrating;

/// <summary>Runs windows of token ids through a model, each on its own and from position 0, without an engine.</summary>
public sealed class WindowRunner : IDisposable
{
    private const int BlockSize = 16, LogitRows = 32;
    private readonly Model model;
    private readonly Backend backend;
    private readonly KvCache cache;
    private readonly Workspace workspace;
    private readonly Arena arena;
    private readonly Tensor ids, positions, starts, contexts, blocks, rows, logits, next, chosen;

    /// <summary>Makes the buffers.</summary>
    /// <param name="model">The model; stays the caller's.</param>
    /// <param name="backend">The backend that it was loaded on.</param>
    /// <param name="length">Most tokens of a window.</param>
    public WindowRunner(Model model, Backend backend, int length)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 2);
        (this.model, this.backend, Length) = (model, backend, length);
        int count = (length + BlockSize - 1) / BlockSize;
        cache = new KvCache(model.Cache, count, BlockSize, backend.CreateArena(count * KvCache.BytesPerBlock(model.Cache, BlockSize)));
        workspace = model.CreateWorkspace(length, LogitRows);
        arena = backend.CreateArena(Arena.BytesFor(ElementType.F32, LogitRows, model.Config.VocabularySize) + 4 * Arena.BytesFor(ElementType.I32, length, 1) + 1024);
        Tensor Integers(int height, int width = 1) => arena.Allocate(ElementType.I32, height, width);
        (ids, positions, starts, contexts, blocks) = (Integers(length), Integers(length), Integers(2), Integers(1), Integers(1, count));
        (rows, next) = (Integers(LogitRows), Integers(LogitRows));
        logits = arena.Allocate(ElementType.F32, LogitRows, model.Config.VocabularySize);
        chosen = arena.Allocate(ElementType.F32, LogitRows, 2);
        backend.Upload<int>(positions, [.. Enumerable.Range(0, length)]);
        backend.Upload<int>(blocks, [.. Enumerable.Range(0, count)]);
    }

    /// <summary>Most tokens of a window.</summary>
    public int Length { get; }

    /// <summary>Runs a window.</summary>
    public void Run(ReadOnlySpan<int> window)
    {
        backend.Upload(ids, window);
        backend.Upload<int>(starts, [0, window.Length]);
        backend.Upload<int>(contexts, [window.Length]);
        PagedBatch paged = new(positions.Take(window.Length), starts, contexts, blocks, BlockSize);
        model.Forward(new ForwardBatch(ids.Take(window.Length), paged), cache, workspace);
    }

    /// <summary>Runs a window; returns the log-probability of each of its tokens but the first.</summary>
    public float[] LogProbabilities(ReadOnlySpan<int> window)
    {
        Run(window);
        float[] result = new float[window.Length - 1], pairs = new float[2 * LogitRows];
        for (int first = 0; first < result.Length; first += LogitRows)
        {
            int count = Math.Min(LogitRows, result.Length - first);
            backend.Upload<int>(rows, [.. Enumerable.Range(first, count)]);
            backend.Upload(next, window.Slice(first + 1, count));
            model.Logits(logits.Take(count), rows.Take(count), workspace);
            backend.LogProbabilities(chosen.Take(count), default, default, logits.Take(count), next.Take(count));
            backend.Download<float>(chosen.Take(count), pairs.AsSpan(0, 2 * count));
            for (int i = 0; i < count; i++)
                result[first + i] = pairs[2 * i];
        }
        return result;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        arena.Dispose();
        workspace.Dispose();
        cache.Dispose();
    }
}
