using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// Turns records of a packed weight into the form that every product can read: 16 F32 scales (one a row), 16 more (minimums, or
/// the scales of the record's second half), then 16 pairs of 16 rows x 2 signed bytes. Done a few records at a time, so that
/// they stay in the first-level cache.
/// </summary>
internal static unsafe class Expansion
{
    /// <summary>Bytes of the scales at the front of an expanded record.</summary>
    public const int ScaleBytes = 2 * TileLayout.Rows * sizeof(float);

    /// <summary>Bytes of an expanded record.</summary>
    public const int RecordBytes = ScaleBytes + TileLayout.WholeBytes;

    private const int Width = 32; // bytes of a pair

    /// <summary>Expands <paramref name="count"/> records of a tile from record <paramref name="first"/> on.</summary>
    public static void Expand(TileLayout layout, byte* tile, int first, int count, byte* target)
    {
        for (int record = first; record < first + count; record++, target += RecordBytes)
        {
            byte* block = tile + layout.FrontBytes + (long)(record / layout.Records) * layout.BlockBytes;
            byte* from = block + layout.HeaderBytes + record % layout.Records * layout.RecordBytes;
            Scales(layout, tile, block, from, (float*)target);
            from += layout.PartBytes;
            byte* to = target + ScaleBytes;
            switch (layout.Blocks)
            {
                case null: new ReadOnlySpan<byte>(from, TileLayout.WholeBytes).CopyTo(new Span<byte>(to, TileLayout.WholeBytes)); break;
                case { Bits: 4 }: Integers<FourBits>(from, layout.Blocks.Zero, to); break;
                case { Bits: 5 }: Integers<FiveBits>(from, layout.Blocks.Zero, to); break;
                default: Integers<SixBits>(from, layout.Blocks.Zero, to); break;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Scales(TileLayout layout, byte* tile, byte* block, byte* parts, float* target)
    {
        if (layout.FrontBytes > 0)
        {
            new ReadOnlySpan<float>(tile, TileLayout.Rows).CopyTo(new Span<float>(target, TileLayout.Rows));
            return;
        }
        Vector512<float> scale = Widening.Halves(Vector256.Load((ushort*)block));
        if (layout.PartBytes == 0)
        {
            scale.Store(target);
            return;
        }
        bool minimums = layout.Blocks!.MinimumAt >= 0;
        (scale * Singles(parts)).Store(target);
        Vector512<float> second = minimums ? Widening.Halves(Vector256.Load((ushort*)block + TileLayout.Rows)) : scale;
        (second * Singles(parts + TileLayout.Rows)).Store(target + TileLayout.Rows);
    }

    // Part minimums are below 64: signed bytes hold them too.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Singles(byte* from) => Vector512.ConvertToSingle(Widening.Signed(Vector128.Load((sbyte*)from)));

    private static void Integers<TBits>(byte* from, int zero, byte* to) where TBits : struct, IHighBits
    {
        Vector256<byte> mask = Vector256.Create((byte)15), bias = Vector256.Create((byte)zero);
        byte* planes = from + 8 * Width;
        for (int pair = 0; pair < 8; pair++)
        {
            Vector256<byte> both = Vector256.Load(from + pair * Width);
            ((both & mask | TBits.Load(planes, pair)) - bias).Store(to + pair * Width);
            ((both >> 4 & mask | TBits.Load(planes, pair + 8)) - bias).Store(to + (pair + 8) * Width);
        }
    }

    /// <summary>The bits of a pair's integers above the fourth.</summary>
    private interface IHighBits
    {
        static abstract Vector256<byte> Load(byte* planes, int pair);
    }

    private readonly struct FourBits : IHighBits
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector256<byte> Load(byte* planes, int pair) => Vector256<byte>.Zero;
    }

    private readonly struct FiveBits : IHighBits
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector256<byte> Load(byte* planes, int pair) =>
            Vector256.ShiftLeft(Vector256.ShiftRightLogical(Vector256.Load((ushort*)(planes + pair / 8 * Width)), pair % 8).AsByte() & Vector256<byte>.One, 4);
    }

    private readonly struct SixBits : IHighBits
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector256<byte> Load(byte* planes, int pair) =>
            Vector256.ShiftLeft(Vector256.ShiftRightLogical(Vector256.Load((ushort*)(planes + pair / 4 * Width)), pair % 4 * 2).AsByte() & Vector256.Create((byte)3), 4);
    }
}
