using System.IO.Compression;
using System.Text.Json;

namespace XDeepServe.Alignment.Data;

/// <summary>Reads a file of one JSON object per line, gzipped if its name ends in .gz. Empty lines are skipped.</summary>
public static class JsonLines
{
    /// <summary>Longest line, in characters.</summary>
    public const int LongestLine = 64 << 20;

    /// <summary>The objects with their line numbers, from 1.</summary>
    /// <exception cref="DataException">A line is no JSON object or too long; the message names file and line.</exception>
    public static IEnumerable<(int Line, JsonElement Row)> Read(string path)
    {
        using Stream file = File.OpenRead(path);
        using Stream stream = path.EndsWith(".gz", StringComparison.Ordinal) ? new GZipStream(file, CompressionMode.Decompress) : file;
        using StreamReader reader = new(stream);
        int number = 0;
        while (ReadLine(reader, path, number + 1) is { } line)
        {
            number++;
            if (!string.IsNullOrWhiteSpace(line))
                yield return (number, Parse(line, path, number));
        }
    }

    // StreamReader.ReadLine would take a line of any length into memory.
    private static string? ReadLine(StreamReader reader, string path, int number)
    {
        System.Text.StringBuilder line = new();
        int next;
        while ((next = reader.Read()) is not (-1 or '\n'))
        {
            line.Append((char)next);
            if (line.Length > LongestLine)
                throw new DataException($"{path}, line {number}: longer than {LongestLine} characters; a data set has one example per line.");
        }
        return next == -1 && line.Length == 0 ? null : line.ToString();
    }

    private static JsonElement Parse(string line, string path, int number)
    {
        try
        {
            JsonElement row = JsonElement.Parse(line);
            return row.ValueKind == JsonValueKind.Object ? row : throw new DataException($"{path}, line {number}: a JSON object is expected, not {row.ValueKind}.");
        }
        catch (JsonException broken)
        {
            throw new DataException($"{path}, line {number}: not JSON ({broken.Message}).");
        }
    }
}

/// <summary>A data set cannot be used as it is.</summary>
/// <param name="message">Which file and line, what is wrong, what to do.</param>
public sealed class DataException(string message) : Exception(message);
