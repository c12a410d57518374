using System.Text.Json.Nodes;

namespace XDeepServe.Cli.Bench;

/// <summary>One request of a benchmark.</summary>
/// <param name="Ids">The prompt as token ids; null if it is text.</param>
/// <param name="Text">The prompt as text.</param>
/// <param name="OutputLength">Most tokens of the answer.</param>
internal sealed record LoadRequest(int[]? Ids, string? Text, int OutputLength)
{
    /// <summary>The prompt as <c>/v1/completions</c> takes it.</summary>
    public JsonNode Prompt => Ids is null ? Text! : new JsonArray([.. Ids.Select(id => (JsonNode)id)]);

    /// <summary>The prompt as the text of a message.</summary>
    public string Message => Text ?? string.Join(' ', Ids!);
}
