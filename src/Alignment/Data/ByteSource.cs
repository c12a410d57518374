namespace XDeepServe.Alignment.Data;

/// <summary>The bytes of a text file behind its UTF-8 mark, whose first visible one is known before they are read.</summary>
internal sealed class ByteSource
{
    private readonly Stream stream;
    private readonly string path;
    private readonly byte[] head = new byte[4096];
    private int start, end;

    /// <param name="stream">UTF-8; stays the caller's.</param>
    /// <param name="path">Named in errors.</param>
    public ByteSource(Stream stream, string path)
    {
        (this.stream, this.path) = (stream, path);
        while (end < head.Length && Pull(head.AsSpan(end)) is > 0 and int read)
            end += read;
        if (head.AsSpan(0, end).StartsWith("\uFEFF"u8))
            start = 3;
        int first = head.AsSpan(start, end - start).IndexOfAnyExcept(" \t\r\n"u8);
        First = first < 0 ? '\0' : (char)head[start + first];
    }

    /// <summary>The first character that is no space, within the first bytes; NUL for none.</summary>
    public char First { get; }

    /// <summary>Reads on.</summary>
    /// <returns>Bytes read; 0 at the end.</returns>
    /// <exception cref="DataException">The compressed file is broken.</exception>
    public int Read(Span<byte> into)
    {
        if (start == end)
            return Pull(into);
        int count = Math.Min(into.Length, end - start);
        head.AsSpan(start, count).CopyTo(into);
        start += count;
        return count;
    }

    private int Pull(Span<byte> into)
    {
        try
        {
            return stream.Read(into);
        }
        catch (InvalidDataException broken)
        {
            throw new DataException($"{path}: not a whole gzip file ({broken.Message})", broken);
        }
    }
}
