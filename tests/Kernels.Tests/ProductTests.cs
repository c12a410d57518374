using XDeepServe.Kernels.Cpu;

namespace XDeepServe.Kernels.Tests;

public sealed class ProductTests
{
    public static TheoryData<CpuPath> Paths => Bench.Paths;

    [Theory]
    [MemberData(nameof(Paths))]
    public void Linear_agrees_with_the_naive_twin(CpuPath path)
    {
        foreach (ElementType type in new[] { ElementType.F32, ElementType.F16, ElementType.BF16, ElementType.Q8_0 })
        {
            foreach ((int tokens, int rows, int columns) in new[] { (1, 1, 32), (2, 17, 64), (5, 33, 96), (13, 16, 32), (31, 130, 416), (1, 515, 1024) })
            {
                using Bench bench = new(tokens + rows, path);
                (Weight cpu, Weight naive) = bench.Weight(type, 1, rows, columns);
                Tensor input = bench.Normal(tokens, columns), bias = bench.Normal(1, rows);
                Tensor expected = bench.Empty(tokens, rows), actual = bench.Empty(tokens, rows);
                bench.Naive.Linear(expected, input, naive, bias);
                bench.Cpu.Linear(actual, input, cpu, bias);
                Bench.Close(expected, actual, type == ElementType.Q8_0 ? 3e-5 : 3e-6);
            }
        }
    }

    [Fact]
    public void Linear_takes_columns_that_fill_no_vector()
    {
        using Bench bench = new(3);
        foreach (ElementType type in new[] { ElementType.F32, ElementType.BF16 })
        {
            (Weight cpu, Weight naive) = bench.Weight(type, 1, 7, 43, ElementType.Q8_0);
            Tensor input = bench.Normal(6, 43), expected = bench.Empty(6, 7), actual = bench.Empty(6, 7);
            Assert.NotEqual(ElementType.Q8_0, cpu.Type);
            (cpu, naive) = bench.Weight(type, 1, 7, 43);
            bench.Naive.Linear(expected, input, naive);
            bench.Cpu.Linear(actual, input, cpu);
            Bench.Close(expected, actual, 3e-6);
        }
    }

    [Theory]
    [MemberData(nameof(Paths))]
    public void Every_row_is_the_same_in_every_batch_and_on_every_path(CpuPath path)
    {
        foreach (ElementType type in new[] { ElementType.F32, ElementType.BF16, ElementType.Q8_0 })
        {
            using Bench bench = new(11, path), other = new(11, CpuPath.Portable, threads: 1);
            Weight weight = bench.Weight(type, 1, 77, 160).Cpu, otherWeight = other.Weight(type, 1, 77, 160).Cpu;
            Tensor input = bench.Normal(27, 160), together = bench.Empty(27, 77), alone = bench.Empty(27, 77);
            bench.Cpu.Linear(together, input, weight);
            for (int start = 0; start < 27;)
            {
                int count = Math.Min(27 - start, bench.Random.Next(1, 7));
                bench.Cpu.Linear(alone.Slice(start, count), input.Slice(start, count), weight);
                start += count;
            }
            Bench.Same(together, alone);
            other.Cpu.Linear(alone, input, otherWeight);
            Bench.Same(together, alone);
        }
    }

    [Theory]
    [MemberData(nameof(Paths))]
    public void Grouped_linear_agrees_with_the_naive_twin_and_with_single_tokens(CpuPath path)
    {
        foreach (ElementType type in new[] { ElementType.F32, ElementType.BF16, ElementType.Q8_0 })
        {
            foreach ((int tokens, int topK, int experts) in new[] { (1, 2, 5), (9, 3, 4), (40, 4, 7) })
            {
                using Bench bench = new(tokens, path);
                (Weight cpu, Weight naive) = bench.Weight(type, experts, 35, 64);
                Tensor ids = bench.Empty(tokens, topK, ElementType.I32);
                for (int token = 0; token < tokens; token++)
                    for (int k = 0; k < topK; k++)
                        ids.Int(token, k) = (token * bench.Random.Next(3) + k) % experts;
                foreach (int rows in new[] { tokens, tokens * topK })
                {
                    Tensor input = bench.Normal(rows, 64), expected = bench.Empty(tokens * topK, 35), actual = bench.Empty(tokens * topK, 35);
                    bench.Naive.GroupedLinear(expected, input, naive, ids);
                    bench.Cpu.GroupedLinear(actual, input, cpu, ids);
                    Bench.Close(expected, actual, type == ElementType.Q8_0 ? 3e-5 : 3e-6);
                    Tensor alone = bench.Empty(tokens * topK, 35);
                    for (int token = 0; token < tokens; token++)
                        bench.Cpu.GroupedLinear(
                            alone.Slice(token * topK, topK),
                            rows == tokens ? input.Slice(token, 1) : input.Slice(token * topK, topK), cpu, ids.Slice(token, 1));
                    Bench.Same(actual, alone);
                }
            }
        }
    }

    [Fact]
    public void Weights_can_be_quantised_while_they_are_prepared()
    {
        using Bench bench = new(5);
        (Weight cpu, Weight naive) = bench.Weight(ElementType.BF16, 2, 24, 64, ElementType.Q8_0);
        Assert.Equal(ElementType.Q8_0, cpu.Type);
        Tensor ids = bench.Integers(3, 0, 23, 9), expected = bench.Empty(4, 64), actual = bench.Empty(4, 64);
        bench.Naive.Embed(expected, naive, ids);
        bench.Cpu.Embed(actual, cpu, ids);
        Bench.Same(expected, actual);
    }

    [Fact]
    public void Bfloat16_activations_are_rounded_where_they_are_written()
    {
        using Bench bench = new(6);
        using CpuBackend rounding = new(new CpuOptions(1, Activations: ElementType.BF16));
        Weight weight = bench.Weight(ElementType.F32, 1, 20, 48).Cpu;
        Tensor input = bench.Normal(3, 48), plain = bench.Empty(3, 20), rounded = bench.Empty(3, 20);
        bench.Cpu.Linear(plain, input, weight);
        rounding.Linear(rounded, input, weight);
        for (int i = 0; i < 20; i++)
            Assert.Equal(BFloat16.ToSingle(BFloat16.FromSingle(plain.Get(1, i))), rounded.Get(1, i));
    }

    [Fact]
    public void Operations_allocate_nothing()
    {
        using Bench bench = new(7, threads: 1);
        Weight weight = bench.Weight(ElementType.Q8_0, 4, 64, 64).Cpu;
        Tensor ids = bench.Empty(2, 2, ElementType.I32), input = bench.Normal(2, 64), output = bench.Empty(4, 64);
        bench.Cpu.GroupedLinear(output, input, weight, ids);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 10; i++)
            bench.Cpu.GroupedLinear(output, input, weight, ids);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }
}
