using System.Buffers;
using System.Collections;
using System.Globalization;
using System.Text.Json;
using Parquet;
using Parquet.Serialization;

namespace XDeepServe.Alignment.Data;

/// <summary>Reads the rows of a Parquet file, one row group in memory at a time; nested lists and structures become JSON.</summary>
internal static class ParquetRows
{
    private const long LargestGroup = 1L << 30;
    private const string Damaged = "not a whole Parquet file, or one with data pages of version 2, of which few are read (write version 1, as pandas and Hugging Face do where nothing else is said)";

    /// <summary>The rows, each with its number, from 1.</summary>
    /// <param name="file">Seekable; stays the caller's.</param>
    /// <param name="path">Named in errors.</param>
    /// <exception cref="DataException">The file is broken, or one of its row groups is too large to be held; names file and row group.</exception>
    public static IEnumerable<Row> Read(Stream file, string path)
    {
        long[] groups = Guard(path, "not a whole Parquet file", () => GroupSizes(file));
        int number = 0;
        for (int group = 0; group < groups.Length; group++)
        {
            string place = $"{path}, row group {group + 1}";
            if (groups[group] > LargestGroup)
                throw new DataException($"{place}: {groups[group]} bytes; write the file with row groups of at most {LargestGroup} bytes.");
            foreach (Dictionary<string, object> row in Guard(place, Damaged, () => ReadGroup(file, group)))
            {
                number++;
                yield return new Row($"{path}, row {number}", ToJson(row, $"{path}, row {number}"));
            }
        }
    }

    // The readers are asynchronous only in form: the stream is a local file.
    private static long[] GroupSizes(Stream file)
    {
        ParquetReader reader = ParquetReader.CreateAsync(file, leaveStreamOpen: true).GetAwaiter().GetResult();
        try
        {
            return [.. (reader.Metadata ?? throw new InvalidDataException("no metadata")).RowGroups.Select(group => group.TotalByteSize)];
        }
        finally
        {
            reader.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
    }

    private static IList<Dictionary<string, object>> ReadGroup(Stream file, int group)
    {
        file.Position = 0;
        return ParquetSerializer.DeserializeUntypedAsync(file, rowGroupIndex: group).GetAwaiter().GetResult().Data;
    }

    // A broken file makes the library throw whatever the bytes lead it to.
    private static T Guard<T>(string place, string what, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception broken) when (broken is not DataException)
        {
            throw new DataException($"{place}: {what} ({broken.Message})", broken);
        }
    }

    private static JsonElement ToJson(Dictionary<string, object> row, string place)
    {
        ArrayBufferWriter<byte> text = new();
        using (Utf8JsonWriter json = new(text))
            Write(json, row);
        if (text.WrittenCount > DataFile.LongestExample)
            throw new DataException($"{place}: longer than {DataFile.LongestExample} bytes.");
        return JsonElement.Parse(text.WrittenSpan);
    }

    private static void Write(Utf8JsonWriter json, object? value)
    {
        switch (value)
        {
            case null: json.WriteNullValue(); break;
            case string text: json.WriteStringValue(text); break;
            case ReadOnlyMemory<char> text: json.WriteStringValue(text.Span); break;
            case bool flag: json.WriteBooleanValue(flag); break;
            case byte[] bytes: json.WriteBase64StringValue(bytes); break;
            case double number when double.IsFinite(number): json.WriteNumberValue(number); break;
            case float number when float.IsFinite(number): json.WriteNumberValue(number); break;
            case sbyte or byte or short or ushort or int or uint or long: json.WriteNumberValue(Convert.ToInt64(value, CultureInfo.InvariantCulture)); break;
            case ulong number: json.WriteNumberValue(number); break;
            case decimal number: json.WriteNumberValue(number); break;
            case IDictionary<string, object> fields:
                json.WriteStartObject();
                foreach ((string name, object field) in fields)
                {
                    json.WritePropertyName(name);
                    Write(json, field);
                }
                json.WriteEndObject();
                break;
            case IEnumerable items:
                json.WriteStartArray();
                foreach (object? item in items)
                    Write(json, item);
                json.WriteEndArray();
                break;
            default: json.WriteStringValue(Convert.ToString(value, CultureInfo.InvariantCulture)); break;
        }
    }
}
