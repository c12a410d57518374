using System.IO.Compression;
using System.Text.Json;

namespace XDeepServe.Alignment.Data;

/// <summary>
/// A file of examples: JSON lines or one JSON array (either gzipped if its name ends in <c>.gz</c>), or Parquet (<c>.parquet</c>).
/// Read one example after another; a file is never held whole.
/// </summary>
public static class DataFile
{
    /// <summary>Longest example, in bytes: a line of a gigabyte is refused before it is read.</summary>
    public const int LongestExample = 16 << 20;

    /// <summary>The examples in their order.</summary>
    /// <exception cref="DataException">The file or an example is broken; names file and place. What came before has been handed out.</exception>
    /// <exception cref="IOException">There is no such file.</exception>
    public static IEnumerable<Row> Read(string path)
    {
        if (Directory.Exists(path))
            throw new DataException($"{path} is a folder; name a file in it (JSON lines, a JSON array or Parquet).");
        using FileStream file = File.OpenRead(path);
        if (path.EndsWith(".parquet", StringComparison.OrdinalIgnoreCase))
        {
            foreach (Row row in ParquetRows.Read(file, path))
                yield return row;
            yield break;
        }
        using Stream stream = path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? new GZipStream(file, CompressionMode.Decompress) : file;
        ByteSource source = new(stream, path);
        foreach (Row row in source.First == '[' ? new JsonArray(source, path).Read() : JsonLines.Read(source, path))
            yield return row;
    }

    internal static JsonElement RequireObject(JsonElement item, string place) =>
        item.ValueKind == JsonValueKind.Object ? item : throw new DataException($"{place}: a JSON object is expected, not {item.ValueKind}.");
}

/// <summary>A data set cannot be used as it is.</summary>
/// <param name="message">Which file and place, what is wrong, what to do.</param>
/// <param name="cause">What a reader said; null for none.</param>
public sealed class DataException(string message, Exception? cause = null) : Exception(message, cause);
