using XDeepServe.Kernels;

namespace XDeepServe.Models.Loading;

/// <summary>A tensor as it lies in a file.</summary>
/// <param name="Name">Hugging Face name.</param>
/// <param name="Type">Storage type.</param>
/// <param name="Shape">Outermost dimension first.</param>
/// <param name="Address">First byte.</param>
/// <param name="Bytes">Length.</param>
/// <param name="File">The mapped file that holds it, if one does: a backend that copied the rows gives their pages back.</param>
/// <param name="Factors">F32 factors beside values of F8 and I8 (<see cref="ElementTypes.Factors"/>), as long-lived as they are; 0 for other types.</param>
public sealed record StoredTensor(string Name, ElementType Type, long[] Shape, nint Address, long Bytes, MappedFile? File = null, nint Factors = 0)
{
    /// <summary>Where <see cref="Address"/> is 0: names random values that the backend makes (<see cref="WeightPiece.Seed"/>).</summary>
    public ulong Seed { get; init; }

    /// <summary>Length of the innermost dimension.</summary>
    public int Columns => checked((int)Shape[^1]);

    /// <summary>Product of the other dimensions.</summary>
    public int Rows => checked((int)(Elements / Shape[^1]));

    /// <summary>Number of values.</summary>
    public long Elements => Shape.Aggregate(1L, (product, length) => checked(product * length));

    /// <summary>Writes the values as they lie in the file.</summary>
    public unsafe void CopyTo(Stream stream)
    {
        for (long at = 0; at < Bytes; at += 1 << 20)
            stream.Write(new ReadOnlySpan<byte>((byte*)Address + at, (int)Math.Min(1 << 20, Bytes - at)));
    }

    /// <summary>Reads one row as singles.</summary>
    /// <param name="row">Which of <see cref="Rows"/>.</param>
    /// <param name="values">Receives <see cref="Columns"/> values.</param>
    public unsafe void Read(int row, Span<float> values)
    {
        if (Type == ElementType.I32)
            throw new ModelLoadException($"'{Name}' holds {Type}, which is no real number.");
        (long first, int count) = Type.FactorsOf(row, Columns);
        Quantization.Restore(
            Type, new ReadOnlySpan<byte>((byte*)Address + Type.Bytes((long)row * Columns), (int)Type.Bytes(Columns)), values[..Columns],
            new ReadOnlySpan<float>((float*)Factors + first, count));
    }
}
