namespace XDeepServe.Models.Layers;

/// <summary>One layer: norm, attention, norm, feed-forward, each unit's output added to the residual stream.</summary>
/// <param name="AttentionNorm">Norm before attention.</param>
/// <param name="Attention">Attention unit.</param>
/// <param name="FeedForwardNorm">Norm before the feed-forward unit.</param>
/// <param name="FeedForward">Feed-forward unit.</param>
public sealed record Layer(Norm AttentionNorm, AttentionUnit Attention, Norm FeedForwardNorm, FeedForwardUnit FeedForward);
