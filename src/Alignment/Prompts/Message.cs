namespace XDeepServe.Alignment.Prompts;

/// <summary>One turn of a conversation.</summary>
/// <param name="Role">system, user or assistant.</param>
/// <param name="Content">What was said.</param>
public sealed record Message(string Role, string Content)
{
    /// <summary>A conversation that is one question.</summary>
    public static IReadOnlyList<Message> Question(string text) => [new("user", text)];
}
