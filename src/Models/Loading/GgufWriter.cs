using System.Text;
using XDeepServe.Kernels;

namespace XDeepServe.Models.Loading;

/// <summary>Writes a GGUF file, version 3: collects entries and tensors, then writes them in one pass.</summary>
internal sealed class GgufWriter
{
    private const int Alignment = 32;
    private readonly List<(string Key, Action<BinaryWriter> Write)> entries = [];
    private readonly List<(string Name, long[] Shape, ElementType Type, Action<Stream> Write)> tensors = [];

    /// <summary>Adds a whole number.</summary>
    public void Add(string key, uint value) => entries.Add((key, writer => { writer.Write(4u); writer.Write(value); }));

    /// <summary>Adds a real number.</summary>
    public void Add(string key, float value) => entries.Add((key, writer => { writer.Write(6u); writer.Write(value); }));

    /// <summary>Adds a flag.</summary>
    public void Add(string key, bool value) => entries.Add((key, writer => { writer.Write(7u); writer.Write(value); }));

    /// <summary>Adds a text.</summary>
    public void Add(string key, string value) => entries.Add((key, writer => { writer.Write(8u); Text(writer, value); }));

    /// <summary>Adds a list of texts.</summary>
    public void Add(string key, IReadOnlyList<string> values) => entries.Add((key, writer =>
    {
        writer.Write(9u);
        writer.Write(8u);
        writer.Write((ulong)values.Count);
        foreach (string value in values)
            Text(writer, value);
    }
    ));

    /// <summary>Adds a list of whole numbers.</summary>
    public void Add(string key, IReadOnlyList<int> values) => entries.Add((key, writer =>
    {
        writer.Write(9u);
        writer.Write(5u);
        writer.Write((ulong)values.Count);
        foreach (int value in values)
            writer.Write(value);
    }
    ));

    /// <summary>Adds a list of 32-bit numbers.</summary>
    public void Add(string key, IReadOnlyList<float> values) => entries.Add((key, writer =>
    {
        writer.Write(9u);
        writer.Write(6u);
        writer.Write((ulong)values.Count);
        foreach (float value in values)
            writer.Write(value);
    }
    ));

    /// <summary>Adds a tensor.</summary>
    /// <param name="name">GGUF name.</param>
    /// <param name="shape">Outermost dimension first.</param>
    /// <param name="type">Type of what <paramref name="write"/> writes.</param>
    /// <param name="write">Writes the values, row by row.</param>
    public void Add(string name, long[] shape, ElementType type, Action<Stream> write) => tensors.Add((name, shape, type, write));

    /// <summary>Writes everything.</summary>
    /// <param name="stream">Receives the file.</param>
    /// <param name="progress">Receives fractions from 0 to 1.</param>
    public void Write(Stream stream, IProgress<double>? progress)
    {
        using BinaryWriter writer = new(stream, Encoding.UTF8, leaveOpen: true);
        writer.Write(GgufFile.Magic);
        writer.Write(3u);
        writer.Write((ulong)tensors.Count);
        writer.Write((ulong)entries.Count);
        foreach ((string key, Action<BinaryWriter> write) in entries)
        {
            Text(writer, key);
            write(writer);
        }
        long offset = 0;
        foreach ((string name, long[] shape, ElementType type, _) in tensors)
        {
            Text(writer, name);
            writer.Write((uint)shape.Length);
            foreach (long length in shape.Reverse())
                writer.Write((ulong)length);
            writer.Write(Code(type));
            writer.Write((ulong)offset);
            offset += Padded(Bytes(type, shape));
        }
        writer.Flush();
        Pad(stream);
        long done = 0;
        foreach ((string name, long[] shape, ElementType type, Action<Stream> write) in tensors)
        {
            long start = stream.Position;
            write(stream);
            if (stream.Position - start != Bytes(type, shape))
                throw new InvalidOperationException($"'{name}' wrote {stream.Position - start} bytes instead of {Bytes(type, shape)}.");
            Pad(stream);
            done += Padded(Bytes(type, shape));
            progress?.Report((double)done / offset);
        }
    }

    private static long Bytes(ElementType type, long[] shape) => type.Bytes(shape.Aggregate(1L, (product, length) => product * length));

    private static uint Code(ElementType type) => GgufFile.Types.First(known => known.Value == type).Key;

    private static long Padded(long bytes) => (bytes + Alignment - 1) / Alignment * Alignment;

    private static void Pad(Stream stream) => stream.Write(new byte[Padded(stream.Position) - stream.Position]);

    private static void Text(BinaryWriter writer, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        writer.Write((ulong)bytes.Length);
        writer.Write(bytes);
    }
}
