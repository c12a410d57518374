using System.Numerics.Tensors;
using System.Runtime.Intrinsics;
using XDeepServe.Kernels;

namespace XDeepServe.Alignment.Selection;

/// <summary>
/// A random projection whose matrix of signs is never stored: the sign of (parameter, column) is a bit of a counter-based stream,
/// so that a long gradient is projected piece by piece, in any order, and on another device with the same result. Inner products
/// are kept up to 1/√columns (LESS, §3.2; RoVRM's gradient features).
/// </summary>
public sealed class RademacherProjection
{
    /// <summary>Columns whose signs lie in one draw.</summary>
    public const int Word = 64;

    private readonly int threads;

    /// <summary>Names a projection.</summary>
    /// <param name="columns">Values of the result; a multiple of 64.</param>
    /// <param name="seed">Names the matrix.</param>
    /// <param name="threads">That take part.</param>
    public RademacherProjection(int columns, ulong seed, int threads = 1)
    {
        if (columns < Word || columns % Word != 0)
            throw new ArgumentException($"A projection has a multiple of {Word} columns, not {columns}.");
        ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1);
        (Columns, Seed, this.threads) = (columns, seed, threads);
    }

    /// <summary>Values of the result.</summary>
    public int Columns { get; }

    /// <summary>Names the matrix.</summary>
    public ulong Seed { get; }

    /// <summary>Signs of 64 columns for one parameter: bit k is set if the entry of column 64 · word + k is −1.</summary>
    public ulong Signs(long parameter, int word) => RandomStream.Draws(Seed, (parameter * (Columns / Word)) + word);

    /// <summary>Adds a piece of a gradient to its projection.</summary>
    /// <param name="gradient">Values of parameters <paramref name="first"/> and following.</param>
    /// <param name="first">Place of the piece in the whole gradient.</param>
    /// <param name="sums"><c>[columns]</c>: what is added to.</param>
    public void Add(ReadOnlyMemory<float> gradient, long first, Memory<float> sums)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(sums.Length, Columns);
        int words = Columns / Word;
        if (threads == 1)
            for (int word = 0; word < words; word++)
                Add(gradient.Span, first, word, sums.Span.Slice(word * Word, Word));
        else
            Parallel.For(0, words, new ParallelOptions { MaxDegreeOfParallelism = threads }, word => Add(gradient.Span, first, word, sums.Span.Slice(word * Word, Word)));
    }

    /// <summary>Scales a vector to length 1; zero stays zero.</summary>
    public static void Normalise(Span<float> values)
    {
        double square = 0;
        foreach (float value in values)
            square += (double)value * value;
        if (square > 0)
            TensorPrimitives.Multiply(values, (float)(1 / Math.Sqrt(square)), values);
    }

    private void Add(ReadOnlySpan<float> gradient, long first, int word, Span<float> sums)
    {
        Vector512<uint> lanes = Vector512.Create(1u, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768), minus = Vector512.Create(0x80000000u);
        Vector512<float> s0 = Vector512.Create<float>(sums), s1 = Vector512.Create<float>(sums[16..]), s2 = Vector512.Create<float>(sums[32..]), s3 = Vector512.Create<float>(sums[48..]);
        for (int i = 0; i < gradient.Length; i++)
        {
            ulong signs = Signs(first + i, word);
            Vector512<uint> value = Vector512.Create(gradient[i]).AsUInt32();
            s0 += Signed(value, (uint)signs, lanes, minus);
            s1 += Signed(value, (uint)signs >> 16, lanes, minus);
            s2 += Signed(value, (uint)(signs >> 32), lanes, minus);
            s3 += Signed(value, (uint)(signs >> 48), lanes, minus);
        }
        s0.CopyTo(sums);
        s1.CopyTo(sums[16..]);
        s2.CopyTo(sums[32..]);
        s3.CopyTo(sums[48..]);
    }

    private static Vector512<float> Signed(Vector512<uint> value, uint signs, Vector512<uint> lanes, Vector512<uint> minus) =>
        (value ^ Vector512.AndNot(minus, Vector512.Equals(Vector512.Create(signs) & lanes, Vector512<uint>.Zero))).AsSingle();
}
