using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Alignment.Data;

/// <summary>Several answers to one conversation: ranked (for Plackett-Luce), or without labels (for GRAM's first stage).</summary>
public sealed record ResponseSet
{
    /// <summary>What all answer.</summary>
    public required IReadOnlyList<Message> Prompt { get; init; }

    /// <summary>At least two, no two equal; the best first where they are ranked.</summary>
    public required IReadOnlyList<string> Responses { get; init; }

    /// <summary>The data's own score of each, falling, strictly so where ties were not asked for; null where nothing says which is better.</summary>
    public IReadOnlyList<double>? Scores { get; init; }

    /// <summary>The part of its data set; empty for none.</summary>
    public string Subset { get; init; } = "";

    /// <summary>What depends on what (<see cref="PreferencePair.Cluster"/>).</summary>
    public string Cluster { get; init; } = "";
}
