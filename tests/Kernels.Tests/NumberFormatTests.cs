using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace XDeepServe.Kernels.Tests;

public sealed class NumberFormatTests
{
    [Fact]
    public void Bfloat16_rounds_to_nearest_even_and_keeps_what_it_can_hold()
    {
        Random random = new(1);
        float[] values = new float[1003];
        for (int i = 0; i < values.Length; i++)
            values[i] = BitConverter.Int32BitsToSingle(random.Next(int.MinValue, int.MaxValue));
        values[0] = float.NaN;
        values[1] = float.PositiveInfinity;
        ushort[] halves = new ushort[values.Length];
        float[] back = new float[values.Length];
        BFloat16.FromSingle(values, halves);
        BFloat16.ToSingle(halves, back);
        for (int i = 0; i < values.Length; i++)
        {
            if (float.IsNaN(values[i]))
            {
                Assert.True(float.IsNaN(back[i]));
                continue;
            }
            Assert.Equal(BFloat16.FromSingle(values[i]), halves[i]);
            if (float.IsFinite(back[i]))
                Assert.InRange(Math.Abs((double)back[i] - values[i]), 0, Math.Max(Math.Abs((double)values[i]) / 256, 1e-40));
        }
        float[] rounded = [.. values];
        BFloat16.Round(rounded);
        Assert.Equal(back.Where(value => !float.IsNaN(value)), rounded.Where(value => !float.IsNaN(value)));
    }

    [Fact]
    public void Half_precision_agrees_with_the_framework()
    {
        ushort[] all = [.. Enumerable.Range(0, 65536).Select(i => (ushort)i)];
        float[] singles = new float[all.Length];
        Quantization.ToSingle(MemoryMarshal.Cast<ushort, Half>(all), singles);
        Half[] back = new Half[all.Length];
        Quantization.ToHalf(singles, back);
        for (int i = 0; i < all.Length; i++)
        {
            Half expected = Unsafe.BitCast<ushort, Half>(all[i]);
            if (Half.IsNaN(expected))
                Assert.True(float.IsNaN(singles[i]) && Half.IsNaN(back[i]));
            else
                Assert.True((float)expected == singles[i] && back[i] == expected);
        }
        Random random = new(2);
        float[] values = [.. Enumerable.Range(0, 5000).Select(_ => BitConverter.Int32BitsToSingle(random.Next(int.MinValue, int.MaxValue)))];
        Half[] halves = new Half[values.Length];
        Quantization.ToHalf(values, halves);
        for (int i = 0; i < values.Length; i++)
            Assert.True(float.IsNaN(values[i]) ? Half.IsNaN(halves[i]) : (Half)values[i] == halves[i]);
    }

    [Fact]
    public void Eight_bit_blocks_restore_within_half_a_step()
    {
        Random random = new(3);
        float[] values = [.. Enumerable.Range(0, 320).Select(_ => random.NextSingle() * 4 - 2)], back = new float[320];
        values.AsSpan(32, 32).Clear();
        byte[] blocks = new byte[340];
        Quantization.ToQ8_0(values, blocks);
        Quantization.FromQ8_0(blocks, back);
        for (int i = 0; i < values.Length; i++)
            // Half a step, and the scale's own rounding to half precision.
            Assert.InRange(Math.Abs(values[i] - back[i]), 0, 2.02f / 127 / 2 + 127 * 2f / 127 / 2048);
        Assert.All(back[32..64], value => Assert.Equal(0, value));
        Assert.Throws<ArgumentException>(() => Quantization.ToQ8_0(values.AsSpan(0, 31), blocks));
    }

    [Fact]
    public void A_file_is_mapped_and_bounds_are_kept()
    {
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, [.. Enumerable.Range(0, 10000).Select(i => (byte)i)]);
            using MappedFile file = MappedFile.Open(path);
            Assert.Equal(10000, file.Length);
            file.DropPages(file.Address, file.Length);
            Assert.Equal(9999 % 256, file.Span(9999, 1)[0]);
            Assert.Throws<ArgumentOutOfRangeException>(() => file.Span(9999, 2).Length);
        }
        finally
        {
            File.Delete(path);
        }
    }
}
