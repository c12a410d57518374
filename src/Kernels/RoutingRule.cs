namespace XDeepServe.Kernels;

/// <summary>How router logits become experts and gate weights.</summary>
/// <param name="TopK">Experts per token.</param>
/// <param name="Sigmoid">Scores by sigmoid (DeepSeek-V3) instead of softmax.</param>
/// <param name="Groups">Expert groups; 1 for none.</param>
/// <param name="TopGroups">Groups that stay eligible.</param>
/// <param name="Normalize">Divide the chosen scores by their sum (+1e-20).</param>
/// <param name="Scale">Factor on every gate weight, after normalising.</param>
/// <param name="GroupTerms">A group's score is the sum of this many of its best biased scores: 1 (DeepSeek-V2) or 2 (DeepSeek-V3).</param>
public sealed record RoutingRule(int TopK, bool Sigmoid, int Groups, int TopGroups, bool Normalize, float Scale, int GroupTerms = 2);
