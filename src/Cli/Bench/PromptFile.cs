using System.IO.Compression;
using System.Text;
using System.Text.Json.Nodes;

namespace XDeepServe.Cli.Bench;

/// <summary>JSON lines with a <c>prompt</c> each, and an <c>id</c> or their place; the name may end with .gz.</summary>
internal static class PromptFile
{
    /// <summary>The prompts in order.</summary>
    public static IEnumerable<(int Id, string Text)> Read(string file)
    {
        using Stream raw = File.OpenRead(file);
        using Stream content = file.EndsWith(".gz", StringComparison.Ordinal) ? new GZipStream(raw, CompressionMode.Decompress) : raw;
        using StreamReader reader = new(content, Encoding.UTF8);
        for (int place = 0; reader.ReadLine() is { } line; place++)
        {
            JsonNode row = JsonNode.Parse(line)!;
            yield return (row["id"]?.GetValue<int>() ?? place, row["prompt"]?.GetValue<string>() ?? throw new ArgumentException($"{file}, line {place + 1}: no prompt."));
        }
    }
}
