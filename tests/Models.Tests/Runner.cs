using XDeepServe.Kernels;

namespace XDeepServe.Models.Tests;

/// <summary>Drives a model without an engine: sequences, their cache blocks, and steps over chosen rows.</summary>
internal sealed class Runner : IDisposable
{
    private const int BlockSize = 16;
    private readonly Backend backend;
    private readonly Model model;
    private readonly KvCache cache;
    private readonly Workspace workspace;
    private readonly Stack<int> free;

    public Runner(Model model, Backend backend, int maxTokens = 256, int blocks = 64)
    {
        this.model = model;
        this.backend = backend;
        cache = new KvCache(model.Cache, blocks, BlockSize, backend.CreateArena(blocks * KvCache.BytesPerBlock(model.Cache, BlockSize)));
        workspace = model.CreateWorkspace(maxTokens, maxTokens);
        // Not in order, so that a wrong block table shows.
        int[] order = [.. Enumerable.Range(0, blocks)];
        new Random(3).Shuffle(order);
        free = new Stack<int>(order);
    }

    /// <summary>Whether rows get the draft module's logits, of the token after the next: the next must be known.</summary>
    public bool Drafts { get; set; }

    /// <summary>Runs the next rows of some sequences in one step and returns the logits of every row.</summary>
    public float[][] Step(params (Sequence Sequence, int Count)[] parts)
    {
        var ids = new List<int>();
        var next = new List<int>();
        var positions = new List<int>();
        var starts = new List<int> { 0 };
        var contexts = new List<int>();
        var embedded = new List<EmbeddedRows>();
        int width = parts.Max(part => (part.Sequence.Done + part.Count + BlockSize - 1) / BlockSize);
        int[] blocks = new int[parts.Length * width];
        for (int p = 0; p < parts.Length; p++)
        {
            (Sequence sequence, int count) = parts[p];
            foreach (EmbeddedRows image in sequence.Images)
            {
                int from = Math.Max(image.First, sequence.Done), to = Math.Min(image.First + image.Values.Rows, sequence.Done + count);
                if (from < to)
                    embedded.Add(new EmbeddedRows(ids.Count + from - sequence.Done, image.Values.Slice(from - image.First, to - from)));
            }
            for (int i = 0; i < count; i++)
            {
                ids.Add(sequence.Tokens[sequence.Done]);
                next.Add(Drafts ? sequence.Tokens[sequence.Done + 1] : 0);
                positions.Add(sequence.Done++);
            }
            starts.Add(ids.Count);
            contexts.Add(sequence.Done);
            while (sequence.Blocks.Count * BlockSize < sequence.Done)
                sequence.Blocks.Add(free.Pop());
            sequence.Blocks.CopyTo(blocks, p * width);
        }

        int rows = ids.Count;
        using Arena arena = backend.CreateArena((64 * 9) + ((rows * 4) + (parts.Length * 3) + blocks.Length) * 4
            + Arena.BytesFor(ElementType.F32, rows, model.Config.VocabularySize));
        var batch = new ForwardBatch(
            Put(arena, [.. ids], 1),
            new PagedBatch(Put(arena, [.. positions], 1), Put(arena, [.. starts], 1), Put(arena, [.. contexts], 1), Put(arena, blocks, width), BlockSize),
            embedded);
        Tensor picked = Put(arena, [.. Enumerable.Range(0, rows)], 1);
        Tensor logits = arena.Allocate(ElementType.F32, rows, model.Config.VocabularySize);
        model.Forward(batch, cache, workspace);
        if (Drafts)
        {
            model.Draft(picked, Put(arena, [.. next], 1), batch.Paged, cache, workspace);
            model.DraftLogits(logits, picked, workspace);
        }
        else
        {
            model.Logits(logits, picked, workspace);
        }
        float[] all = new float[rows * logits.Columns];
        backend.Download<float>(logits, all);
        return [.. all.Chunk(logits.Columns)];
    }

    /// <summary>Runs all rows that a sequence has left, in steps of at most <paramref name="chunk"/>.</summary>
    public float[][] Prefill(Sequence sequence, int chunk = int.MaxValue)
    {
        var rows = new List<float[]>();
        while (sequence.Left > 0)
            rows.AddRange(Step((sequence, Math.Min(chunk, sequence.Left))));
        return [.. rows];
    }

    /// <summary>What the draft module makes of every token but the last: the token after the next.</summary>
    public float[][] DraftAll(Sequence sequence, int chunk = int.MaxValue)
    {
        Drafts = true;
        var rows = new List<float[]>();
        while (sequence.Left > 1)
            rows.AddRange(Step((sequence, Math.Min(chunk, sequence.Left - 1))));
        Drafts = false;
        return [.. rows];
    }

    /// <summary>Runs a prompt, then appends the likeliest token again and again.</summary>
    public int[] Greedy(Sequence sequence, int count, int chunk = int.MaxValue)
    {
        float[] logits = Prefill(sequence, chunk)[^1];
        int[] tokens = new int[count];
        for (int i = 0; i < count; i++)
        {
            tokens[i] = Best(logits);
            sequence.Tokens.Add(tokens[i]);
            if (i + 1 < count)
                logits = Step((sequence, 1))[0];
        }
        return tokens;
    }

    public static int Best(float[] logits) => Array.IndexOf(logits, logits.Max());

    public void Dispose()
    {
        workspace.Dispose();
        cache.Dispose();
    }

    private Tensor Put(Arena arena, int[] values, int columns)
    {
        Tensor tensor = arena.Allocate(ElementType.I32, values.Length / columns, columns);
        backend.Upload<int>(tensor, values);
        return tensor;
    }
}

/// <summary>A sequence of a <see cref="Runner"/>.</summary>
internal sealed class Sequence(IEnumerable<int> tokens)
{
    public List<int> Tokens { get; } = [.. tokens];

    public List<int> Blocks { get; } = [];

    /// <summary>Images, each from the position of its first row on.</summary>
    public IReadOnlyList<EmbeddedRows> Images { get; init; } = [];

    /// <summary>Tokens that are in the cache.</summary>
    public int Done { get; set; }

    public int Left => Tokens.Count - Done;
}
