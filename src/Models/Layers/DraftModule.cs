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
public sealed record DraftModule(Weight Embedding, Norm EmbeddingNorm, Norm HiddenNorm, Weight Join, Layer Layer, Norm HeadNorm, Weight Head);
