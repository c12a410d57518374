using XDeepServe.Kernels;
using XDeepServe.Models.Families;
using XDeepServe.Models.Layers;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models;

/// <summary>
/// A network on a backend: embedding, layers, final norm, output matrix. Owns its weights; the checkpoint stays the caller's
/// and must outlive the model, because a backend may use mapped rows as they are.
/// </summary>
public sealed class Model : IDisposable
{
    private readonly Backend backend;
    private readonly WeightLoader weights;
    private readonly Weight embedding; // [vocabulary, hidden]
    private readonly Weight? head; // [vocabulary, hidden]; the embedding itself if tied; null if the model only scores
    private readonly Weight? scores; // [labels, hidden]: the score head, if there is one
    private readonly Tensor scoreBias; // [1, labels]; empty if it has none
    private readonly Weight? positions; // [positions, hidden]: learned positions, if the model has them
    private readonly Norm finalNorm;
    private readonly Layer[] layers;

    private Model(
        Backend backend, WeightLoader weights, ModelConfig config, ModelOptions options,
        Weight embedding, Weight? positions, Weight? head, Weight? scores, Tensor scoreBias, Norm finalNorm, Layer[] layers, IReadOnlyList<DraftModule> drafts, int maxLength)
    {
        this.backend = backend;
        this.weights = weights;
        this.embedding = embedding;
        this.head = head;
        this.scores = scores;
        this.scoreBias = scoreBias;
        this.positions = positions;
        this.finalNorm = finalNorm;
        this.layers = layers;
        Config = config;
        MaxLength = maxLength;
        Drafts = drafts;
        Cache = new CacheLayout(options.Cache, [.. layers.Concat(drafts.Take(1).Select(draft => draft.Layer)).Select(layer => layer.Attention.CacheRows)]);
    }

    /// <summary>The shape of the network.</summary>
    public ModelConfig Config { get; }

    /// <summary>Longest context that is served, in tokens.</summary>
    public int MaxLength { get; }

    /// <summary>What the layers keep of every position; the first draft module's layer, if there is one, behind the others.</summary>
    public CacheLayout Cache { get; }

    /// <summary>Bytes of all weights and tables, mapped or copied.</summary>
    public long WeightBytes => weights.Bytes;

    /// <summary>Whether it has an output matrix; otherwise it has a score head alone.</summary>
    public bool CanGenerate => head is not null;

    /// <summary>The layers, whose units may be run apart.</summary>
    public IReadOnlyList<Layer> Layers => layers;

    /// <summary>The modules for multi-token prediction that the file holds, if <see cref="ModelOptions.Drafts"/> asked for them.</summary>
    public IReadOnlyList<DraftModule> Drafts { get; }

    /// <summary>Turns images into rows of a step; null if the model takes text alone.</summary>
    public ImageEncoder? Images { get; private init; }

    /// <summary>Loads a model.</summary>
    /// <param name="checkpoint">The opened files; stay the caller's, and open until the model is disposed.</param>
    /// <param name="backend">Runs the model; stays the caller's.</param>
    /// <param name="options">How to load.</param>
    /// <param name="progress">Receives fractions from 0 to 1.</param>
    /// <exception cref="ModelLoadException">Something about the files or the options cannot be served; says what to do.</exception>
    public static Model Load(Checkpoint checkpoint, Backend backend, ModelOptions options, IProgress<double>? progress = null)
    {
        var config = ModelConfig.Read(checkpoint.Config, checkpoint.GenerationConfig);
        int maxLength = MaxLengthFor(config, options);
        CheckTypes(options);
        Family family = Family.Of(config.Family);
        var loader = new WeightLoader(checkpoint, backend, options.Quantization, family) { Elsewhere = options.Experts };
        try
        {
            var vocabulary = new WeightPart("model.embed_tokens.weight", config.VocabularySize);
            var output = new WeightPart("lm_head.weight", config.VocabularySize);
            bool scoring = config.Labels > 0, tied = !scoring && (config.TiedEmbeddings ?? !loader.Has(output.Name));
            Weight embedding = tied
                ? loader.Linear(config.HiddenSize, vocabulary)
                : loader.Unquantized(config.HiddenSize, vocabulary, plain: false);
            Weight? positions = family.LoadPositions(config, loader);
            double steps = config.Layers + 2;
            progress?.Report(1 / steps);

            Tensor rope = default;
            if (family.RopeWidth(config) > 0)
                RopeTable.Fill(backend, rope = loader.Allocate(maxLength, family.RopeWidth(config)), config.Rope);
            var layers = new Layer[config.Layers];
            for (int i = 0; i < layers.Length; i++)
            {
                layers[i] = family.LoadLayer(i, config, loader, rope);
                progress?.Report((i + 2) / steps);
            }
            loader.Elsewhere = null; // a draft module keeps its experts beside it
            Norm finalNorm = family.LoadNorm("model.norm", config, loader);
            Weight? head = tied ? embedding : scoring ? null : loader.Linear(config.HiddenSize, output);
            Weight? scores = scoring ? loader.Single(config.HiddenSize, new WeightPart("score.weight", config.Labels)) : null;
            Tensor scoreBias = scoring && loader.Has("score.bias") ? loader.Vector(new WeightPart("score.bias", config.Labels)) : default;
            List<DraftModule> drafts = [];
            while (options.Drafts && head is not null && drafts.Count < config.DraftLayers && family.LoadDraft(drafts.Count, config, loader, rope, embedding, head) is { } draft)
                drafts.Add(draft);
            ImageEncoder? images = family.LoadImages(config, loader);
            backend.Synchronize();
            progress?.Report(1);
            return new Model(backend, loader, config, options, embedding, positions, head, scores, scoreBias, finalNorm, layers, drafts, maxLength) { Images = images };
        }
        catch
        {
            loader.Dispose();
            throw;
        }
    }

    /// <summary>Makes the buffers of a step. Several may be used at the same time, each on a backend of its own: weights are only read.</summary>
    /// <param name="maxTokens">Most rows in a step.</param>
    /// <param name="maxLogitRows">Most rows that get logits in one call.</param>
    /// <param name="on">Runs the steps: of the kind and settings of the one that loaded the model; null for that one itself.</param>
    /// <param name="halves">Whether steps may be run as two micro-batches.</param>
    public Workspace CreateWorkspace(int maxTokens, int maxLogitRows, Backend? on = null, bool halves = false)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(maxTokens);
        long scratch = layers.Concat(Drafts.Select(draft => draft.Layer)).Max(layer => Math.Max(layer.Attention.ScratchBytes(maxTokens), layer.FeedForward.ScratchBytes(maxTokens)));
        return new Workspace(on ?? backend, Config.HiddenSize, maxTokens, maxLogitRows, scratch, drafts: Drafts.Count > 0, halves);
    }

    /// <summary>Runs a step's rows through all layers: writes the cache and <see cref="Workspace.Hidden"/>. Allocates nothing.</summary>
    /// <param name="batch">The rows; at most <see cref="Workspace.MaxTokens"/>.</param>
    /// <param name="cache">Holds the earlier positions.</param>
    /// <param name="workspace">Buffers, made by this model.</param>
    public void Forward(ForwardBatch batch, KvCache cache, Workspace workspace)
    {
        Backend backend = workspace.Backend;
        int tokens = batch.Paged.Tokens;
        Tensor residual = workspace.Residual.Take(tokens);
        Tensor normed = workspace.Normed.Take(tokens);
        Tensor delta = workspace.Delta.Take(tokens);
        Scratch scratch = workspace.Scratch;

        Embed(backend, batch, residual, delta);
        if (batch.Halves is { } halves)
        {
            MicroBatchPipeline.Run(backend, layers, finalNorm, halves, cache, workspace);
            workspace.Hidden = normed;
            return;
        }
        layers[0].AttentionNorm.Run(backend, normed, residual);
        for (int i = 0; i < layers.Length; i++)
        {
            Layer layer = layers[i];
            scratch.Rewind();
            layer.Attention.Run(backend, delta, normed, batch.Paged, cache, i, scratch);
            layer.FeedForwardNorm.AddAndRun(backend, normed, residual, delta);
            scratch.Rewind();
            layer.FeedForward.Run(backend, delta, normed, scratch);
            Norm next = i + 1 < layers.Length ? layers[i + 1].AttentionNorm : finalNorm;
            next.AddAndRun(backend, normed, residual, delta);
        }
        workspace.Hidden = normed;
    }

    /// <summary>
    /// Runs the first draft module behind <see cref="Forward"/>, or behind itself: <see cref="Workspace.Hidden"/> becomes what
    /// <see cref="DraftLogits"/> makes drafts of. Allocates nothing.
    /// </summary>
    /// <param name="rows">I32 <c>[n, 1]</c>: rows of the last pass whose hidden states go in.</param>
    /// <param name="nextIds">I32 <c>[n, 1]</c>: the token behind each of them.</param>
    /// <param name="paged">Where they belong: each at the position of its hidden state.</param>
    /// <param name="cache">Holds the module's earlier positions.</param>
    /// <param name="workspace">The workspace of the last pass.</param>
    public void Draft(Tensor rows, Tensor nextIds, PagedBatch paged, KvCache cache, Workspace workspace)
    {
        int tokens = rows.Rows;
        Tensor given = workspace.Given.Take(tokens), residual = workspace.Residual.Take(tokens), normed = workspace.Normed.Take(tokens);
        // Behind the norm in both cases: the module was trained on the model's states there, and its own accept a little more there than before it.
        workspace.Backend.GatherRows(given, workspace.Normed, rows);
        Drafts[0].Run(
            workspace.Backend, given, nextIds, workspace.Joined.Take(tokens), residual, normed, workspace.Delta.Take(tokens), paged, cache, layers.Length, workspace.Scratch);
        workspace.Hidden = normed;
    }

    /// <summary>Logits of some rows of <see cref="Workspace.Hidden"/> behind <see cref="Draft"/>: of the token after the next.</summary>
    /// <param name="logits">F32 <c>[n, vocabulary]</c>.</param>
    /// <param name="rows">I32 <c>[n, 1]</c>; n is at most <see cref="Workspace.MaxLogitRows"/>.</param>
    /// <param name="workspace">The workspace of the step.</param>
    public void DraftLogits(Tensor logits, Tensor rows, Workspace workspace) => Logits(logits, rows, workspace, Drafts[0].Head);

    /// <summary>Logits of some rows of <see cref="Workspace.Hidden"/>.</summary>
    /// <param name="logits">F32 <c>[n, vocabulary]</c>.</param>
    /// <param name="rows">I32 <c>[n, 1]</c>: rows of the hidden states; n is at most <see cref="Workspace.MaxLogitRows"/>.</param>
    /// <param name="workspace">The workspace of the step.</param>
    public void Logits(Tensor logits, Tensor rows, Workspace workspace) =>
        Logits(logits, rows, workspace, head ?? throw new InvalidOperationException("The model has a score head, but no output matrix."));

    /// <summary>What the score head says of some rows.</summary>
    /// <param name="output">F32 <c>[n, labels]</c>.</param>
    /// <param name="hidden">F32 <c>[n, hidden]</c>: rows of <see cref="Workspace.Hidden"/>.</param>
    /// <param name="workspace">The workspace of the step.</param>
    /// <exception cref="InvalidOperationException">The model has none.</exception>
    public void Scores(Tensor output, Tensor hidden, Workspace workspace) =>
        workspace.Backend.Linear(output, hidden, scores ?? throw new InvalidOperationException("The model has no score head."), scoreBias);

    /// <inheritdoc/>
    public void Dispose() => weights.Dispose();

    private static void Logits(Tensor logits, Tensor rows, Workspace workspace, Weight output)
    {
        Tensor picked = workspace.Picked.Take(rows.Rows);
        workspace.Backend.GatherRows(picked, workspace.Hidden, rows);
        workspace.Backend.Linear(logits, picked, output);
    }

    private void Embed(Backend backend, ForwardBatch batch, Tensor residual, Tensor delta)
    {
        backend.Embed(residual, embedding, batch.TokenIds);
        for (int i = 0; i < (batch.Embedded?.Count ?? 0); i++)
        {
            EmbeddedRows rows = batch.Embedded![i];
            backend.Copy(residual.Slice(rows.First, rows.Values.Rows), rows.Values);
        }
        if (positions is null)
            return;
        backend.Embed(delta, positions, batch.Paged.Positions);
        backend.Add(residual, delta);
    }

    /// <summary>Longest context that a model is served with.</summary>
    /// <exception cref="ModelLoadException">The options ask for what the model was not made for.</exception>
    public static int MaxLengthFor(ModelConfig config, ModelOptions options)
    {
        int asked = options.MaxModelLength ?? config.MaxPositions;
        if (asked < 1)
            throw new ModelLoadException($"The longest context must be at least 1 token, not {asked}.");
        if (asked > config.MaxPositions)
            throw new ModelLoadException($"A context of {asked} tokens was asked for, but the model was made for {config.MaxPositions} (max_position_embeddings). Ask for at most that.");
        return asked;
    }

    private static void CheckTypes(ModelOptions options)
    {
        if (options.Cache is not (ElementType.F32 or ElementType.BF16))
            throw new ModelLoadException($"The key-value cache can hold F32 or BF16, not {options.Cache}.");
        if (options.Quantization is { } type && (type.IsPlain() || !Quantization.CanStore(type)))
            throw new ModelLoadException($"Weights can be quantised to Q8_0, Q4_K, Q4_0, Q5_0, F8 or I8 while loading, not to {type}.");
    }
}
