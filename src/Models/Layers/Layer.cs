using XDeepServe.Kernels;

namespace XDeepServe.Models.Layers;

/// <summary>One layer: norm, attention, norm, feed-forward, each unit's output added to the residual stream.</summary>
/// <param name="AttentionGain">F32 <c>[1, hidden]</c>: norm before attention.</param>
/// <param name="Attention">Attention unit.</param>
/// <param name="FeedForwardGain">F32 <c>[1, hidden]</c>: norm before the feed-forward unit.</param>
/// <param name="FeedForward">Feed-forward unit.</param>
public sealed record Layer(Tensor AttentionGain, AttentionUnit Attention, Tensor FeedForwardGain, FeedForwardUnit FeedForward);
