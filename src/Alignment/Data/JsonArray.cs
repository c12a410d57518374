using System.Text.Json;

namespace XDeepServe.Alignment.Data;

/// <summary>Reads the objects of one JSON array, without ever holding more than one of them.</summary>
/// <param name="source">UTF-8.</param>
/// <param name="path">Named in errors.</param>
internal sealed class JsonArray(ByteSource source, string path)
{
    private byte[] buffer = new byte[1 << 16];
    private int start, end, number;
    private bool ended, opened;
    private JsonReaderState state;

    /// <summary>The objects, each with its number, from 1.</summary>
    /// <exception cref="DataException">The file is no array of objects, or an object is longer than <see cref="DataFile.LongestExample"/>; names file and item.</exception>
    public IEnumerable<Row> Read()
    {
        while (Next() is { } item)
            yield return new Row(Place, DataFile.RequireObject(item, Place));
    }

    private string Place => $"{path}, item {number}";

    private JsonElement? Next()
    {
        number++;
        try
        {
            while (true)
            {
                Utf8JsonReader reader = new(buffer.AsSpan(start, end - start), isFinalBlock: false, state);
                if (reader.Read())
                {
                    if (!opened)
                    {
                        opened = true;
                        Pass(reader);
                        continue;
                    }
                    if (reader.TokenType == JsonTokenType.EndArray)
                    {
                        Pass(reader);
                        RequireEnd();
                        return null;
                    }
                    if (JsonElement.TryParseValue(ref reader, out JsonElement? item))
                    {
                        if (reader.BytesConsumed > DataFile.LongestExample)
                            throw TooLong();
                        Pass(reader);
                        return item;
                    }
                }
                if (ended)
                    throw new DataException($"{Place}: the file ends before its array does.");
                if (end - start > DataFile.LongestExample)
                    throw TooLong();
                Fill();
            }
        }
        catch (JsonException broken)
        {
            throw new DataException($"{Place}: not JSON ({broken.Message}).", broken);
        }
    }

    private void RequireEnd()
    {
        do
        {
            if (buffer.AsSpan(start, end - start).IndexOfAnyExcept(" \t\r\n"u8) >= 0)
                throw new DataException($"{path}: something stands behind the array's end; a file holds one array, or one object on each line.");
            start = end;
            Fill();
        }
        while (!ended);
    }

    private DataException TooLong() => new($"{Place}: longer than {DataFile.LongestExample} bytes.");

    private void Pass(Utf8JsonReader reader)
    {
        start += (int)reader.BytesConsumed;
        state = reader.CurrentState;
    }

    private void Fill()
    {
        buffer.AsSpan(start, end - start).CopyTo(buffer);
        (start, end) = (0, end - start);
        if (end == buffer.Length)
            Array.Resize(ref buffer, buffer.Length * 2);
        int read = source.Read(buffer.AsSpan(end));
        end += read;
        ended = read == 0;
    }
}
