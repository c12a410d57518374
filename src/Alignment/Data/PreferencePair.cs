using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Alignment.Data;

/// <summary>Two answers to one conversation, of which one is preferred.</summary>
public sealed record PreferencePair
{
    /// <summary>What both answer.</summary>
    public required IReadOnlyList<Message> Prompt { get; init; }

    /// <summary>The better answer.</summary>
    public required string Chosen { get; init; }

    /// <summary>The other.</summary>
    public required string Rejected { get; init; }

    /// <summary>By how much the one is better, in the data's own unit; null if it does not say.</summary>
    public double? Margin { get; init; }

    /// <summary>The part of its data set; empty for none.</summary>
    public string Subset { get; init; } = "";

    /// <summary>What depends on what: pairs with the same name share a prompt, and intervals are computed over names.</summary>
    public string Cluster { get; init; } = "";

    /// <summary>The cluster of a conversation: its text and what it shows.</summary>
    public static string ClusterOf(IReadOnlyList<Message> prompt) => string.Join('\n', prompt.SelectMany(message => message.Images.Append(message.Content)));
}
