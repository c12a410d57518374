using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using XDeepServe.Models.Text;

namespace XDeepServe.Cli;

/// <summary>A file of JSON objects, one a line, answered by one line each on stdout.</summary>
internal static class JsonLines
{
    private const int Deepest = 512;

    private static readonly JsonSerializerOptions Plain = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, MaxDepth = Deepest };

    /// <summary>Answers every line.</summary>
    /// <param name="file">The file, in UTF-8.</param>
    /// <param name="answer">Makes the answer of a line.</param>
    /// <exception cref="ArgumentException">A line is not an object or cannot be answered; the message names it. The lines before it have been answered.</exception>
    public static void Answer(string file, Func<JsonObject, JsonObject> answer)
    {
        using Stream output = new BufferedStream(Console.OpenStandardOutput(), 1 << 16);
        int number = 0;
        foreach (ReadOnlyMemory<byte> line in Lines(File.ReadAllBytes(file)))
        {
            number++;
            try
            {
                JsonObject given = JsonNode.Parse(MendSurrogates(line.ToArray()), documentOptions: new JsonDocumentOptions { MaxDepth = Deepest, AllowDuplicateProperties = false }) as JsonObject
                    ?? throw new FormatException("not a JSON object.");
                JsonSerializer.Serialize(output, answer(given), Plain);
                output.WriteByte((byte)'\n');
            }
            catch (JsonException error)
            {
                throw new ArgumentException($"{file}, line {number}: not valid JSON: {error.Message}", error);
            }
            catch (TemplateException error)
            {
                throw new ArgumentException($"{file}, line {number}: {(error.Raised ? "the template refuses this: " : "")}{error.Message}", error);
            }
            catch (Exception error) when (error is FormatException or TokenizerException or ArgumentException or InvalidOperationException)
            {
                throw new ArgumentException($"{file}, line {number}: {error.Message}", error);
            }
        }
    }

    /// <summary>The lines of a file; the last may lack its line break.</summary>
    private static IEnumerable<ReadOnlyMemory<byte>> Lines(byte[] content)
    {
        int start = content.AsSpan().StartsWith("\uFEFF"u8) ? 3 : 0;
        while (start < content.Length)
        {
            int length = content.AsSpan(start).IndexOf((byte)'\n');
            if (length < 0)
                length = content.Length - start;
            yield return content.AsMemory(start, length);
            start += length + 1;
        }
    }

    /// <summary>Escapes of half a surrogate pair, which Python writes and UTF-8 cannot hold, become that of U+FFFD.</summary>
    private static byte[] MendSurrogates(byte[] json)
    {
        for (int at = 0; at + 1 < json.Length; at += json[at] == '\\' ? 2 : 1)
        {
            if (Unit(json, at) is not (>= 0xD800 and <= 0xDFFF and int unit))
                continue;
            if (unit < 0xDC00 && Unit(json, at + 6) is >= 0xDC00 and <= 0xDFFF)
                at += 6; // a whole pair
            else
                "FFFD"u8.CopyTo(json.AsSpan(at + 2));
        }
        return json;
    }

    private static int Unit(byte[] json, int at) =>
        at + 6 <= json.Length && json[at] == '\\' && json[at + 1] == 'u'
            && int.TryParse(json.AsSpan(at + 2, 4), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int unit) ? unit : -1;
}
