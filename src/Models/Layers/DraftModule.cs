using XDeepServe.Kernels;

namespace XDeepServe.Models.Layers;

/// <summary>
/// A module for multi-token prediction (DeepSeek-V3, GLM-4-MoE): from the model's hidden state and the embedding of the next
/// token, one more layer predicts the token after that: logits = Head · HeadNorm(Layer(Join · [EmbeddingNorm(e), HiddenNorm(h)])).
/// </summary>
/// <param name="Embedding">Token table <c>[vocabulary, hidden]</c>: its own, or the model's if the file holds none.</param>
/// <param name="EmbeddingNorm">enorm: of the next token's embedding.</param>
/// <param name="HiddenNorm">hnorm: of the model's hidden state.</param>
/// <param name="Join">eh_proj <c>[hidden, 2·hidden]</c>: embedding first.</param>
/// <param name="Layer">The layer.</param>
/// <param name="HeadNorm">shared_head.norm.</param>
/// <param name="Head">shared_head.head <c>[vocabulary, hidden]</c>: its own, or the model's.</param>
public sealed record DraftModule(Weight Embedding, Norm EmbeddingNorm, Norm HiddenNorm, Weight Join, Layer Layer, Norm HeadNorm, Weight Head)
{
    /// <summary>Runs the module over some rows.</summary>
    /// <param name="backend">Runs the operations.</param>
    /// <param name="hidden">F32 <c>[tokens, hidden]</c>: the rows' hidden states, the model's behind its final norm or the module's own.</param>
    /// <param name="nextIds">I32 <c>[tokens, 1]</c>: the token behind each row's.</param>
    /// <param name="joined">F32 <c>[tokens, 2·hidden]</c>: room.</param>
    /// <param name="residual">F32 <c>[tokens, hidden]</c>: receives the hidden states before <see cref="HeadNorm"/>; not <paramref name="hidden"/>.</param>
    /// <param name="normed">F32 <c>[tokens, hidden]</c>: receives them behind it; not <paramref name="hidden"/>.</param>
    /// <param name="delta">F32 <c>[tokens, hidden]</c>: room.</param>
    /// <param name="batch">Where the rows belong: at the positions of the rows whose hidden states they have.</param>
    /// <param name="cache">The cache of all layers.</param>
    /// <param name="layer">The module's layer in it.</param>
    /// <param name="scratch">Buffers; left rewound.</param>
    public void Run(
        Backend backend, Tensor hidden, Tensor nextIds, Tensor joined, Tensor residual, Tensor normed, Tensor delta,
        PagedBatch batch, KvCache cache, int layer, Scratch scratch)
    {
        Tensor embedded = joined.Cut(0, residual.Columns);
        backend.Embed(residual, Embedding, nextIds);
        EmbeddingNorm.Run(backend, embedded, residual);
        HiddenNorm.Run(backend, joined.Cut(residual.Columns, residual.Columns), hidden);
        backend.Linear(residual, joined, Join);
        Layer.AttentionNorm.Run(backend, normed, residual);
        scratch.Rewind();
        Layer.Attention.Run(backend, delta, normed, batch, cache, layer, scratch);
        Layer.FeedForwardNorm.AddAndRun(backend, normed, residual, delta);
        scratch.Rewind();
        Layer.FeedForward.Run(backend, delta, normed, scratch);
        HeadNorm.AddAndRun(backend, normed, residual, delta);
        scratch.Rewind();
    }
}
