using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace XDeepServe.Kernels;

/// <summary>Quantises values to the blocks of <see cref="BlockLayout"/> that can be written: Q4_0, Q5_0, Q4_K.</summary>
internal static class BlockWriter
{
    private const int PartLength = 32, Parts = 8;

    /// <summary>Whether a type can be written.</summary>
    public static bool Writes(ElementType type) => type is ElementType.Q4_0 or ElementType.Q5_0 or ElementType.Q4_K;

    /// <summary>Quantises one block.</summary>
    public static void Write(ElementType type, ReadOnlySpan<float> values, Span<byte> block)
    {
        switch (type)
        {
            case ElementType.Q4_0: WriteHalves(values, 8, block[..2], block[2..], default); break;
            case ElementType.Q5_0: WriteHalves(values, 16, block[..2], block[6..], block.Slice(2, 4)); break;
            case ElementType.Q4_K: WriteNibbles(values, block); break;
            default: throw new ArgumentException($"{type} can be read, not written: choose Q4_K, Q4_0, Q5_0 or Q8_0.", nameof(type));
        }
    }

    /// <summary>The value of the largest magnitude becomes the lowest integer, so that one more step is used than with symmetric steps.</summary>
    private static void WriteHalves(ReadOnlySpan<float> values, int zero, Span<byte> scale, Span<byte> bytes, Span<byte> fifth)
    {
        float extreme = 0;
        foreach (float value in values)
            if (MathF.Abs(value) > MathF.Abs(extreme))
                extreme = value;
        float step = extreme / -zero;
        float inverse = step == 0 ? 0 : 1 / step;
        BinaryPrimitives.WriteHalfLittleEndian(scale, (Half)step);
        uint high = 0;
        for (int i = 0; i < 16; i++)
        {
            int first = Level(values[i]), second = Level(values[i + 16]);
            bytes[i] = (byte)(first & 15 | (second & 15) << 4);
            high |= (uint)(first >> 4) << i | (uint)(second >> 4) << i + 16;
        }
        if (!fifth.IsEmpty)
            BinaryPrimitives.WriteUInt32LittleEndian(fifth, high);

        int Level(float value) => Math.Clamp((int)(value * inverse + (zero + 0.5f)), 0, 2 * zero - 1);
    }

    /// <summary>256 values: each part's scale and minimum are fitted, then rounded to six bits of the block's own.</summary>
    private static void WriteNibbles(ReadOnlySpan<float> values, Span<byte> block)
    {
        Span<float> scales = stackalloc float[Parts], minimums = stackalloc float[Parts];
        float mostScale = 0, mostMinimum = 0;
        for (int part = 0; part < Parts; part++)
        {
            (scales[part], minimums[part]) = Fit(ref Unsafe.AsRef(in values[part * PartLength]));
            mostScale = MathF.Max(mostScale, scales[part]);
            mostMinimum = MathF.Max(mostMinimum, minimums[part]);
        }
        BinaryPrimitives.WriteHalfLittleEndian(block, (Half)(mostScale / 63));
        BinaryPrimitives.WriteHalfLittleEndian(block[2..], (Half)(mostMinimum / 63));
        float scale = (float)BinaryPrimitives.ReadHalfLittleEndian(block), minimum = (float)BinaryPrimitives.ReadHalfLittleEndian(block[2..]);
        float toScale = mostScale > 0 ? 63 / mostScale : 0, toMinimum = mostMinimum > 0 ? 63 / mostMinimum : 0;
        Span<byte> packed = block.Slice(4, 12), nibbles = block[16..];
        packed.Clear();
        nibbles.Clear();
        for (int part = 0; part < Parts; part++)
        {
            (int partScale, int partMinimum) = Nearby(
                ref Unsafe.AsRef(in values[part * PartLength]), scale, minimum,
                Math.Min(63, (int)MathF.Round(toScale * scales[part])), Math.Min(63, (int)MathF.Round(toMinimum * minimums[part])));
            if (part < 4)
            {
                packed[part] |= (byte)partScale;
                packed[part + 4] |= (byte)partMinimum;
            }
            else
            {
                packed[part + 4] = (byte)(partScale & 15 | (partMinimum & 15) << 4);
                packed[part - 4] |= (byte)(partScale >> 4 << 6);
                packed[part] |= (byte)(partMinimum >> 4 << 6);
            }
            float step = scale * partScale, least = minimum * partMinimum;
            if (step == 0)
                continue;
            for (int i = 0; i < PartLength; i++)
            {
                int level = Math.Clamp((int)MathF.Round((values[part * PartLength + i] + least) / step), 0, 15);
                nibbles[part / 2 * PartLength + i] |= (byte)(level << part % 2 * 4);
            }
        }
    }

    /// <summary>
    /// Scale and minimum (taken off, so not negative) that restore 32 values best from 4 bits. Large values weigh more. Starts
    /// from the range of the values, then tries 21 other roundings, each with the scale and minimum of least squares.
    /// </summary>
    private static (float Scale, float Minimum) Fit(ref float values)
    {
        Vector512<float> x0 = Vector512.LoadUnsafe(ref values), x1 = Vector512.LoadUnsafe(ref values, 16);
        Vector512<float> mean = Vector512.Create(MathF.Sqrt(Vector512.Sum(x0 * x0 + x1 * x1) / PartLength));
        Vector512<float> w0 = mean + Vector512.Abs(x0), w1 = mean + Vector512.Abs(x1);
        float most = Extreme(x0, x1, largest: true), least = MathF.Min(0, Extreme(x0, x1, largest: false));
        if (most == least)
            return (0, -least);
        float sumW = Vector512.Sum(w0 + w1), sumX = Vector512.Sum(w0 * x0 + w1 * x1);
        float bestScale = (most - least) / 15, bestLeast = least;
        Levels(15 / (most - least), out Vector512<float> l0, out Vector512<float> l1);
        float bestError = Error(bestScale, bestLeast, l0, l1);
        for (int step = 0; step <= 20; step++)
        {
            Levels((14 + 0.1f * step) / (most - least), out l0, out l1);
            float sumL = Vector512.Sum(w0 * l0 + w1 * l1), sumLL = Vector512.Sum(w0 * l0 * l0 + w1 * l1 * l1), sumLX = Vector512.Sum(w0 * l0 * x0 + w1 * l1 * x1);
            float determinant = sumW * sumLL - sumL * sumL;
            if (!(determinant > 0))
                continue;
            float scale = (sumW * sumLX - sumX * sumL) / determinant, minimum = (sumLL * sumX - sumL * sumLX) / determinant;
            if (minimum > 0)
                (scale, minimum) = (sumLX / sumLL, 0);
            float error = Error(scale, minimum, l0, l1);
            if (error < bestError)
                (bestScale, bestLeast, bestError) = (scale, minimum, error);
        }
        return (bestScale, -bestLeast);

        void Levels(float inverse, out Vector512<float> first, out Vector512<float> second)
        {
            Vector512<float> none = Vector512<float>.Zero, top = Vector512.Create(15f), floor = Vector512.Create(least);
            first = Vector512.Min(top, Vector512.Max(none, Vector512.Round((x0 - floor) * inverse)));
            second = Vector512.Min(top, Vector512.Max(none, Vector512.Round((x1 - floor) * inverse)));
        }

        float Error(float scale, float minimum, Vector512<float> first, Vector512<float> second)
        {
            Vector512<float> d0 = first * scale + Vector512.Create(minimum) - x0, d1 = second * scale + Vector512.Create(minimum) - x1;
            return Vector512.Sum(w0 * d0 * d0 + w1 * d1 * d1);
        }
    }

    /// <summary>Of the six-bit scales and minimums around the rounded ones, those that restore a part best.</summary>
    private static (int Scale, int Minimum) Nearby(ref float values, float scale, float minimum, int partScale, int partMinimum)
    {
        Vector512<float> x0 = Vector512.LoadUnsafe(ref values), x1 = Vector512.LoadUnsafe(ref values, 16), top = Vector512.Create(15f);
        (int Scale, int Minimum) best = (partScale, partMinimum);
        float bestError = float.PositiveInfinity;
        for (int s = Math.Max(1, partScale - 1); s <= Math.Min(63, partScale + 1); s++)
        {
            for (int m = Math.Max(0, partMinimum - 1); m <= Math.Min(63, partMinimum + 1); m++)
            {
                float step = scale * s, inverse = step == 0 ? 0 : 1 / step;
                Vector512<float> least = Vector512.Create(minimum * m);
                Vector512<float> l0 = Vector512.Min(top, Vector512.Max(Vector512<float>.Zero, Vector512.Round((x0 + least) * inverse)));
                Vector512<float> l1 = Vector512.Min(top, Vector512.Max(Vector512<float>.Zero, Vector512.Round((x1 + least) * inverse)));
                Vector512<float> d0 = l0 * step - least - x0, d1 = l1 * step - least - x1;
                float error = Vector512.Sum(d0 * d0 + d1 * d1);
                if (error < bestError)
                    (best, bestError) = ((s, m), error);
            }
        }
        return best;
    }

    private static float Extreme(Vector512<float> first, Vector512<float> second, bool largest)
    {
        Vector512<float> all = largest ? Vector512.Max(first, second) : Vector512.Min(first, second);
        float result = all[0];
        for (int lane = 1; lane < Vector512<float>.Count; lane++)
            result = largest ? MathF.Max(result, all[lane]) : MathF.Min(result, all[lane]);
        return result;
    }
}
