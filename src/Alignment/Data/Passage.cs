using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Alignment.Data;

/// <summary>What a language model learns from: plain text, or a conversation that an assistant's turn ends. One of the two is set.</summary>
public sealed record Passage
{
    /// <summary>Plain text.</summary>
    public string? Text { get; init; }

    /// <summary>A conversation; its last turn is the assistant's.</summary>
    public IReadOnlyList<Message>? Messages { get; init; }
}
