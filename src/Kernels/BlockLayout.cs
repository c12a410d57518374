using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace XDeepServe.Kernels;

/// <summary>
/// How GGUF's quantised blocks lie: a block's value is scale x part scale x integer (- minimum x part minimum). All integers are
/// little-endian; this class takes them apart and nothing else.
/// </summary>
/// <param name="Type">The stored type.</param>
/// <param name="ScaleAt">Byte of the half-precision scale.</param>
/// <param name="MinimumAt">Byte of the half-precision minimum; -1 if there is none.</param>
/// <param name="PartLength">Values that share a part scale; the whole block if there are no part scales.</param>
/// <param name="Bits">Bits of an integer.</param>
/// <param name="Zero">What is taken from the stored, unsigned integer.</param>
internal sealed record BlockLayout(ElementType Type, int ScaleAt, int MinimumAt, int PartLength, int Bits, int Zero)
{
    /// <summary>Most values in a block.</summary>
    public const int MostValues = 256;

    /// <summary>Most parts in a block.</summary>
    public const int MostParts = 16;

    private static readonly BlockLayout Q4_0 = new(ElementType.Q4_0, 0, -1, 32, 4, 8);
    private static readonly BlockLayout Q5_0 = new(ElementType.Q5_0, 0, -1, 32, 5, 16);
    private static readonly BlockLayout Q4_K = new(ElementType.Q4_K, 0, 2, 32, 4, 0);
    private static readonly BlockLayout Q5_K = new(ElementType.Q5_K, 0, 2, 32, 5, 0);
    private static readonly BlockLayout Q6_K = new(ElementType.Q6_K, 208, -1, 16, 6, 32);

    /// <summary>Values in a block.</summary>
    public int Values { get; } = Type.Block().Values;

    /// <summary>Bytes of a block.</summary>
    public int Bytes { get; } = Type.Block().Bytes;

    /// <summary>Parts with scales of their own; 0 if the block has but one scale.</summary>
    public int Parts => Values == ElementTypes.BlockLength ? 0 : Values / PartLength;

    /// <summary>The layout of a type; null for types that are no such blocks (8-bit blocks are handled on their own).</summary>
    public static BlockLayout? Of(ElementType type) => type switch
    {
        ElementType.Q4_0 => Q4_0,
        ElementType.Q5_0 => Q5_0,
        ElementType.Q4_K => Q4_K,
        ElementType.Q5_K => Q5_K,
        ElementType.Q6_K => Q6_K,
        _ => null,
    };

    /// <summary>The scale of a block.</summary>
    public float Scale(ReadOnlySpan<byte> block) => (float)BinaryPrimitives.ReadHalfLittleEndian(block[ScaleAt..]);

    /// <summary>The minimum of a block; 0 if it has none.</summary>
    public float Minimum(ReadOnlySpan<byte> block) => MinimumAt < 0 ? 0 : (float)BinaryPrimitives.ReadHalfLittleEndian(block[MinimumAt..]);

    /// <summary>Takes a block apart.</summary>
    /// <param name="block">The block.</param>
    /// <param name="values">Receives the integers, <see cref="Zero"/> taken off.</param>
    /// <param name="scales">Receives the part scales.</param>
    /// <param name="minimums">Receives the part minimums, if there are any.</param>
    public void Unpack(ReadOnlySpan<byte> block, Span<sbyte> values, Span<sbyte> scales, Span<byte> minimums)
    {
        switch (Type)
        {
            case ElementType.Q4_0: UnpackHalves(block[2..], 0, values); break;
            case ElementType.Q5_0: UnpackHalves(block[6..], BinaryPrimitives.ReadUInt32LittleEndian(block[2..]), values); break;
            case ElementType.Q4_K:
                UnpackScales(block[4..], scales, minimums);
                UnpackNibbles(block[16..], default, values);
                break;
            case ElementType.Q5_K:
                UnpackScales(block[4..], scales, minimums);
                UnpackNibbles(block[48..], block.Slice(16, 32), values);
                break;
            case ElementType.Q6_K:
                MemoryMarshal.Cast<byte, sbyte>(block.Slice(192, MostParts)).CopyTo(scales);
                UnpackSixBits(block, values);
                break;
        }
    }

    /// <summary>Restores the values of a block.</summary>
    public void Restore(ReadOnlySpan<byte> block, Span<float> destination)
    {
        Span<sbyte> values = stackalloc sbyte[MostValues];
        Span<sbyte> scales = stackalloc sbyte[MostParts];
        Span<byte> minimums = stackalloc byte[MostParts];
        Unpack(block, values, scales, minimums);
        float scale = Scale(block), minimum = Minimum(block);
        for (int start = 0, part = 0; start < Values; start += PartLength, part++)
        {
            float factor = Parts == 0 ? scale : scale * scales[part];
            float least = MinimumAt < 0 ? 0 : minimum * minimums[part];
            for (int i = start; i < start + PartLength; i++)
                destination[i] = factor * values[i] - least;
        }
    }

    /// <summary>The low halves of 16 bytes are the first 16 values, the high ones the rest; bit i of <paramref name="fifth"/> is value i's.</summary>
    private void UnpackHalves(ReadOnlySpan<byte> bytes, uint fifth, Span<sbyte> values)
    {
        for (int i = 0; i < 16; i++)
        {
            values[i] = (sbyte)((bytes[i] & 15 | (int)(fifth >> i & 1) << 4) - Zero);
            values[i + 16] = (sbyte)((bytes[i] >> 4 | (int)(fifth >> i + 16 & 1) << 4) - Zero);
        }
    }

    /// <summary>Runs of 32 bytes hold 64 values, low halves first; bit p of <paramref name="fifth"/>[i] belongs to value i of part p.</summary>
    private static void UnpackNibbles(ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> fifth, Span<sbyte> values)
    {
        for (int part = 0; part < 8; part++)
            for (int i = 0; i < 32; i++)
            {
                int low = bytes[part / 2 * 32 + i] >> part % 2 * 4 & 15;
                values[part * 32 + i] = (sbyte)(fifth.IsEmpty ? low : low | (fifth[i] >> part & 1) << 4);
            }
    }

    /// <summary>Two halves of 128 values: 64 bytes of low four bits, 32 bytes of high two bits each.</summary>
    private void UnpackSixBits(ReadOnlySpan<byte> block, Span<sbyte> values)
    {
        for (int half = 0; half < 2; half++)
            for (int run = 0; run < 4; run++)
                for (int i = 0; i < 32; i++)
                {
                    int low = block[half * 64 + run % 2 * 32 + i] >> run / 2 * 4 & 15;
                    int high = block[128 + half * 32 + i] >> run * 2 & 3;
                    values[half * 128 + run * 32 + i] = (sbyte)((low | high << 4) - Zero);
                }
    }

    /// <summary>12 bytes: six bits each of 8 scales and 8 minimums; the last four of either lie in two places.</summary>
    private static void UnpackScales(ReadOnlySpan<byte> bytes, Span<sbyte> scales, Span<byte> minimums)
    {
        for (int i = 0; i < 4; i++)
        {
            scales[i] = (sbyte)(bytes[i] & 63);
            minimums[i] = (byte)(bytes[i + 4] & 63);
            scales[i + 4] = (sbyte)(bytes[i + 8] & 15 | bytes[i] >> 6 << 4);
            minimums[i + 4] = (byte)(bytes[i + 8] >> 4 | bytes[i + 4] >> 6 << 4);
        }
    }
}
