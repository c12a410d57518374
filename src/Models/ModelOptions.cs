using XDeepServe.Kernels;

namespace XDeepServe.Models;

/// <summary>How to load a model.</summary>
/// <param name="Cache">Type of the key-value cache: F32 or BF16.</param>
/// <param name="Quantization">Q8_0 to quantise linear weights while loading; null to keep the file's types. Routers, norms, embeddings that are not tied and the latent's expansion keep theirs.</param>
/// <param name="MaxModelLength">Longest context to serve; null for all that the model allows.</param>
public sealed record ModelOptions(ElementType Cache = ElementType.F32, ElementType? Quantization = null, int? MaxModelLength = null);
