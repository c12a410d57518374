using XDeepServe.Kernels;
using XDeepServe.Models.Layers;

namespace XDeepServe.Models;

/// <summary>How to load a model.</summary>
/// <param name="Cache">Type of the key-value cache: F32 or BF16.</param>
/// <param name="Quantization">Type that plain linear weights are quantised to while loading: Q8_0, Q4_K, Q4_0, Q5_0, F8 or I8; null to keep the file's types. Routers, norms, embeddings that are not tied and the latent's expansion keep theirs.</param>
/// <param name="MaxModelLength">Longest context to serve; null for all that the model allows.</param>
/// <param name="Drafts">Whether to load the modules for multi-token prediction that the file holds.</param>
/// <param name="Experts">Gives the routed experts of a layer, numbered from 0, where they are elsewhere; null to load them all. Draft modules load theirs.</param>
public sealed record ModelOptions(
    ElementType Cache = ElementType.F32, ElementType? Quantization = null, int? MaxModelLength = null, bool Drafts = false, Func<int, ExpertBank>? Experts = null);
