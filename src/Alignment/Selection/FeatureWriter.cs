using System.Buffers.Binary;
using System.Runtime.InteropServices;
using XDeepServe.Kernels;

namespace XDeepServe.Alignment.Selection;

/// <summary>Writes a feature file row by row. Until <see cref="Complete"/>, the file names no rows and is refused by readers.</summary>
public sealed class FeatureWriter : IDisposable
{
    private readonly FileStream stream;
    private readonly ushort[]? narrow; // a row in bfloat16
    private readonly int columns;
    private readonly ulong seed;
    private long rows;

    /// <summary>Begins a file.</summary>
    /// <param name="path">Written over if it is there.</param>
    /// <param name="columns">Values of a row.</param>
    /// <param name="seed">Of the projection.</param>
    /// <param name="halves">Store bfloat16 instead of float32.</param>
    public FeatureWriter(string path, int columns, ulong seed, bool halves = false)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(columns, 1);
        (this.columns, this.seed) = (columns, seed);
        narrow = halves ? new ushort[columns] : null;
        stream = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 16);
        WriteHeader();
    }

    /// <summary>Adds a row.</summary>
    /// <param name="values"><c>[columns]</c>, finite.</param>
    /// <exception cref="ArgumentException">A value is not finite.</exception>
    public void Append(ReadOnlySpan<float> values)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(values.Length, columns);
        foreach (float value in values)
            if (!float.IsFinite(value))
                throw new ArgumentException($"Row {rows} holds {value}: a gradient went out of range.");
        if (narrow is null)
        {
            stream.Write(MemoryMarshal.AsBytes(values));
        }
        else
        {
            BFloat16.FromSingle(values, narrow);
            stream.Write(MemoryMarshal.AsBytes<ushort>(narrow));
        }
        rows++;
    }

    /// <summary>Says that all rows are there.</summary>
    public void Complete()
    {
        stream.Position = 0;
        WriteHeader();
    }

    /// <summary>Closes the file.</summary>
    public void Dispose() => stream.Dispose();

    private void WriteHeader()
    {
        Span<byte> header = stackalloc byte[FeatureFile.HeaderBytes];
        header.Clear();
        FeatureFile.Magic.CopyTo(header);
        BinaryPrimitives.WriteInt64LittleEndian(header[8..], rows);
        BinaryPrimitives.WriteInt32LittleEndian(header[16..], columns);
        BinaryPrimitives.WriteInt32LittleEndian(header[20..], narrow is null ? 0 : 1);
        BinaryPrimitives.WriteUInt64LittleEndian(header[24..], seed);
        stream.Write(header);
    }
}
