using XDeepServe.Bench.Llama;
using XDeepServe.Kernels;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models.Tests.Llama;

/// <summary>Quantised blocks beside llama.cpp's own functions.</summary>
public sealed unsafe class BlockTests
{
    private const int Columns = 1024, Rows = 64;

    public static TheoryData<ElementType> Types => [.. GgufFile.Types.Values.Where(type => type != ElementType.F32)];

    public static TheoryData<ElementType> Written => [ElementType.Q8_0, ElementType.Q4_0, ElementType.Q5_0, ElementType.Q4_K];

    [Theory]
    [MemberData(nameof(Types))]
    public void Every_block_is_restored_to_the_same_bits(ElementType type)
    {
        LlamaModel.Need();
        Random random = new(1);
        byte[] stored = new byte[type.Bytes(Rows * Columns)];
        random.NextBytes(stored);
        (int values, int bytes) = type.Block();
        if (values > 1)
            for (int at = 0; at < stored.Length; at += bytes)
                foreach (int scale in type == ElementType.Q6_K ? new[] { 208 } : type is ElementType.Q4_K or ElementType.Q5_K ? [0, 2] : [0])
                    BitConverter.TryWriteBytes(stored.AsSpan(at + scale), (Half)(random.NextSingle() - 0.5f));
        float[] ours = new float[Rows * Columns], theirs = new float[Rows * Columns];
        Quantization.Restore(type, stored, ours);
        fixed (byte* from = stored)
        fixed (float* to = theirs)
            LlamaLibrary.Restore(Code(type), from, to, theirs.Length);
        for (int i = 0; i < ours.Length; i++)
            if (!float.IsNaN(theirs[i]))
                Assert.True(BitConverter.SingleToInt32Bits(theirs[i]) == BitConverter.SingleToInt32Bits(ours[i]), $"value {i} is {ours[i]}, llama.cpp's {theirs[i]}");
    }

    [Theory]
    [MemberData(nameof(Written))]
    public void Blocks_are_written_as_well_as_llama_cpp_writes_them(ElementType type)
    {
        LlamaModel.Need();
        Random random = new(2);
        float[] values = [.. Enumerable.Range(0, Rows * Columns).Select(i => (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(random.NextDouble() * 6.28)) * (1 + i % 7))];
        byte[] ours = new byte[type.Bytes(values.Length)], theirs = new byte[ours.Length];
        Quantization.Store(type, values, ours);
        fixed (float* from = values)
        fixed (byte* to = theirs)
            Assert.Equal((nuint)theirs.Length, LlamaLibrary.Quantise(Code(type), from, to, 0, Rows, Columns, null));
        if (type != ElementType.Q4_K)
            Assert.Equal(theirs, ours);
        Assert.InRange(Error(type, values, ours), 0, Error(type, values, theirs) * 1.001);
    }

    private static double Error(ElementType type, float[] values, byte[] stored)
    {
        float[] back = new float[values.Length];
        Quantization.Restore(type, stored, back);
        return values.Zip(back).Sum(pair => Math.Pow(pair.First - pair.Second, 2));
    }

    private static int Code(ElementType type) => (int)GgufFile.Types.First(entry => entry.Value == type).Key;
}
