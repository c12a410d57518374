using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Unicode;

namespace XDeepServe.Models.Loading;

/// <summary>Reads JSON objects from a model's folder.</summary>
internal static class JsonFile
{
    private const long MostBytes = 256L << 20;

    /// <summary>The object in a file; null if there is no such file.</summary>
    /// <exception cref="ModelLoadException">The file holds something else.</exception>
    public static JsonObject? TryRead(string path)
    {
        if (!File.Exists(path))
            return null;
        if (new FileInfo(path).Length > MostBytes)
            throw new ModelLoadException($"{path} is too long to be what its name says. Fetch it again.");
        return Parse(File.ReadAllBytes(path), path);
    }

    /// <summary>The object in some bytes.</summary>
    /// <exception cref="ModelLoadException">They hold something else.</exception>
    public static JsonObject Parse(ReadOnlySpan<byte> utf8, string source)
    {
        if (!Utf8.IsValid(utf8))
            throw new ModelLoadException($"{source} is no UTF-8 text. Fetch it again.");
        try
        {
            JsonNode? node = JsonNode.Parse(utf8, documentOptions: new JsonDocumentOptions { MaxDepth = 64 });
            if (node is JsonObject json)
            {
                _ = json.Count; // finds keys that are there twice
                return json;
            }
        }
        catch (Exception broken) when (broken is JsonException or ArgumentException or InvalidOperationException)
        {
            throw new ModelLoadException($"{source} is not valid JSON: {broken.Message} Fetch it again.");
        }
        throw new ModelLoadException($"{source} must hold a JSON object. Fetch it again.");
    }
}
