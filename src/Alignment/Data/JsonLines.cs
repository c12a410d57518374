using System.Text.Json;

namespace XDeepServe.Alignment.Data;

/// <summary>Reads one JSON object per line, without ever holding more than one line. Empty lines are skipped.</summary>
internal static class JsonLines
{
    /// <summary>The objects, each with its line number, from 1.</summary>
    /// <param name="source">UTF-8.</param>
    /// <param name="path">Named in errors.</param>
    /// <exception cref="DataException">A line is no JSON object, or longer than <see cref="DataFile.LongestExample"/>; names file and line.</exception>
    public static IEnumerable<Row> Read(ByteSource source, string path)
    {
        byte[] buffer = new byte[1 << 16];
        int start = 0, end = 0, number = 1;
        bool ended = false;
        while (!ended || start < end)
        {
            int length = buffer.AsSpan(start, end - start).IndexOf((byte)'\n');
            if ((length < 0 ? end - start : length) > DataFile.LongestExample)
                throw new DataException($"{path}, line {number}: longer than {DataFile.LongestExample} bytes; a data set has one example per line.");
            if (length < 0 && !ended)
            {
                ended = !Fill();
                continue;
            }
            ReadOnlyMemory<byte> line = buffer.AsMemory(start, length < 0 ? end - start : length);
            start += length < 0 ? line.Length : length + 1;
            string place = $"{path}, line {number}";
            if (line.Span.IndexOfAnyExcept(" \t\r"u8) >= 0)
                yield return new Row(place, Parse(line, place));
            number++;
        }

        bool Fill()
        {
            if (start > 0)
            {
                buffer.AsSpan(start, end - start).CopyTo(buffer);
                (start, end) = (0, end - start);
            }
            if (end == buffer.Length)
                Array.Resize(ref buffer, buffer.Length * 2);
            int read = source.Read(buffer.AsSpan(end));
            end += read;
            return read > 0;
        }
    }

    private static JsonElement Parse(ReadOnlyMemory<byte> line, string place)
    {
        try
        {
            return DataFile.RequireObject(JsonElement.Parse(line.Span), place);
        }
        catch (JsonException broken)
        {
            throw new DataException($"{place}: not JSON ({broken.Message}).", broken);
        }
    }
}
