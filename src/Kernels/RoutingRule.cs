namespace XDeepServe.Kernels;

/// <summary>How router logits become experts and gate weights.</summary>
/// <param name="TopK">Experts per token.</param>
/// <param name="Sigmoid">Scores by sigmoid (DeepSeek-V3) instead of softmax.</param>
/// <param name="Groups">Expert groups; 1 for none. A group's score is the sum of its two best biased scores.</param>
/// <param name="TopGroups">Groups that stay eligible.</param>
/// <param name="Normalize">Divide the chosen scores by their sum (+1e-20).</param>
/// <param name="Scale">Factor on every gate weight, after normalising.</param>
public sealed record RoutingRule(int TopK, bool Sigmoid, int Groups, int TopGroups, bool Normalize, float Scale);
