using System.Buffers.Binary;
using System.Runtime.InteropServices;
using XDeepServe.Alignment.Data;
using XDeepServe.Kernels;

namespace XDeepServe.Alignment.Selection;

/// <summary>
/// Feature vectors of preference pairs, one row for each, in a file that is mapped and never read whole. A header of 64 bytes, all
/// little-endian: "XDSFEAT1", rows (int64), columns (int32), type (int32: 0 float32, 1 bfloat16), the projection's seed (uint64),
/// zeros; then the rows. Rows may be read from several threads.
/// </summary>
public sealed class FeatureFile : IDisposable
{
    internal const int HeaderBytes = 64;
    private readonly MappedFile file;
    private readonly bool narrow; // bfloat16

    private FeatureFile(MappedFile file, int rows, int columns, bool narrow, ulong seed)
    {
        this.file = file;
        this.narrow = narrow;
        (Rows, Columns, Seed) = (rows, columns, seed);
    }

    internal static ReadOnlySpan<byte> Magic => "XDSFEAT1"u8;

    /// <summary>Vectors.</summary>
    public int Rows { get; }

    /// <summary>Values of a vector.</summary>
    public int Columns { get; }

    /// <summary>Seed of the projection that made them: features with different seeds cannot be compared.</summary>
    public ulong Seed { get; }

    /// <summary>Where it lies.</summary>
    public string Path => file.Path;

    /// <summary>Maps a file.</summary>
    /// <exception cref="DataException">It is no feature file, or cut off.</exception>
    public static FeatureFile Open(string path)
    {
        MappedFile file = MappedFile.Open(path);
        try
        {
            if (file.Length < HeaderBytes || !file.Span(0, 8).SequenceEqual(Magic))
                throw new DataException($"{path} is no feature file.");
            ReadOnlySpan<byte> header = file.Span(0, HeaderBytes);
            long rows = BinaryPrimitives.ReadInt64LittleEndian(header[8..]);
            int columns = BinaryPrimitives.ReadInt32LittleEndian(header[16..]), type = BinaryPrimitives.ReadInt32LittleEndian(header[20..]);
            if (rows is < 1 or > int.MaxValue || columns < 1 || type is < 0 or > 1)
                throw new DataException($"{path}: the header names {rows} rows of {columns} values of type {type}; the file was not finished or is damaged.");
            if ((Int128)rows * columns * (type == 0 ? 4 : 2) != file.Length - HeaderBytes)
                throw new DataException($"{path} is cut off: its header names {rows} rows of {columns} values.");
            return new FeatureFile(file, (int)rows, columns, type == 1, BinaryPrimitives.ReadUInt64LittleEndian(header[24..]));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Refuses features that cannot be compared with these.</summary>
    /// <exception cref="DataException">They were projected differently.</exception>
    public void Match(FeatureFile other)
    {
        if (Columns != other.Columns || Seed != other.Seed)
            throw new DataException($"{Path} and {other.Path} were projected differently ({Columns} and {other.Columns} columns, seeds {Seed} and {other.Seed}); compute both with the same settings.");
    }

    /// <summary>Copies a row.</summary>
    /// <param name="row">From 0.</param>
    /// <param name="values"><c>[columns]</c>.</param>
    public void Read(int row, Span<float> values)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(values.Length, Columns);
        int bytes = Columns * (narrow ? 2 : 4);
        ReadOnlySpan<byte> stored = file.Span(HeaderBytes + ((long)row * bytes), bytes);
        if (narrow)
            BFloat16.ToSingle(MemoryMarshal.Cast<byte, ushort>(stored), values);
        else
            MemoryMarshal.Cast<byte, float>(stored).CopyTo(values);
    }

    /// <inheritdoc/>
    public void Dispose() => file.Dispose();
}
