namespace XDeepServe.Alignment.Prompts;

/// <summary>One turn of a conversation.</summary>
/// <param name="Role">system, user or assistant.</param>
/// <param name="Content">What was said.</param>
public sealed record Message(string Role, string Content)
{
    /// <summary>What stands for an image in the text of a data set's prompt.</summary>
    public const string ImageMark = "<image>";

    /// <summary>Images that the turn shows, before its text: paths of files, or data URLs.</summary>
    public IReadOnlyList<string> Images { get; init; } = [];

    /// <summary>A conversation that is one question.</summary>
    public static IReadOnlyList<Message> Question(string text) => [new("user", text)];
}
