using XDeepServe.Kernels.Cpu;

namespace XDeepServe.Kernels.Tests;

public sealed class ProductTests
{
    public static TheoryData<CpuPath> Paths => Bench.Paths;

    [Theory]
    [MemberData(nameof(Paths))]
    public void Linear_agrees_with_the_naive_twin(CpuPath path)
    {
        foreach (ElementType type in Bench.WeightTypes)
        {
            foreach ((int tokens, int rows, int columns) in new[] { (1, 1, 32), (2, 17, 64), (5, 33, 96), (13, 16, 32), (31, 130, 416), (1, 515, 1024), (3, 17, 256), (6, 33, 512), (29, 130, 768) })
            {
                if (!type.Fits(columns))
                    continue;
                using Bench bench = new(tokens + rows, path);
                (Weight cpu, Weight naive) = bench.Weight(type, 1, rows, columns);
                Assert.Equal(type, cpu.Type);
                Tensor input = bench.Normal(tokens, columns), bias = bench.Normal(1, rows);
                Tensor expected = bench.Empty(tokens, rows), actual = bench.Empty(tokens, rows);
                bench.Naive.Linear(expected, input, naive, bias);
                bench.Cpu.Linear(actual, input, cpu, bias);
                Bench.Close(expected, actual, Tolerance(type));
            }
        }
    }

    [Fact]
    public void Linear_takes_columns_that_fill_no_vector()
    {
        using Bench bench = new(3);
        foreach (ElementType type in new[] { ElementType.F32, ElementType.F16, ElementType.BF16, ElementType.F8, ElementType.I8 })
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
        foreach (ElementType type in Bench.WeightTypes)
        {
            using Bench bench = new(11, path), other = new(11, CpuPath.Portable, threads: 1);
            Weight weight = bench.Weight(type, 1, 77, 256).Cpu, otherWeight = other.Weight(type, 1, 77, 256).Cpu;
            Tensor input = bench.Normal(27, 256), together = bench.Empty(27, 77), alone = bench.Empty(27, 77);
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
        foreach (ElementType type in Bench.WeightTypes)
        {
            foreach ((int tokens, int topK, int experts) in new[] { (1, 2, 5), (9, 3, 4), (40, 4, 7) })
            {
                using Bench bench = new(tokens, path);
                (Weight cpu, Weight naive) = bench.Weight(type, experts, 35, 256);
                Tensor ids = bench.Empty(tokens, topK, ElementType.I32);
                for (int token = 0; token < tokens; token++)
                    for (int k = 0; k < topK; k++)
                        ids.Int(token, k) = (token * bench.Random.Next(3) + k) % experts;
                foreach (int rows in new[] { tokens, tokens * topK })
                {
                    Tensor input = bench.Normal(rows, 256), expected = bench.Empty(tokens * topK, 35), actual = bench.Empty(tokens * topK, 35);
                    bench.Naive.GroupedLinear(expected, input, naive, ids);
                    bench.Cpu.GroupedLinear(actual, input, cpu, ids);
                    Bench.Close(expected, actual, Tolerance(type));
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
    public void A_matrix_takes_anothers_place_and_its_neighbours_stay()
    {
        // As they are stored, and quantised or widened while they are prepared.
        foreach ((ElementType type, ElementType target) in Bench.WeightTypes.Select(type => (type, type)).Append((ElementType.BF16, ElementType.F8)).Append((ElementType.BF16, ElementType.Q8_0)).Append((ElementType.F16, ElementType.F32)))
        {
            using Bench bench = new(11);
            (Weight cpu, Weight naive) = bench.Matrices(type, 3, 35, 256, target);
            (Weight otherCpu, Weight otherNaive) = bench.Matrices(type, 2, 35, 256, target);
            Tensor input = bench.Normal(3, 256), ids = bench.Integers(0, 1, 2), before = bench.Empty(3, 35), expected = bench.Empty(3, 35), actual = bench.Empty(3, 35);
            bench.Cpu.GroupedLinear(before, input, cpu, ids);
            bench.Cpu.Replace(cpu, 1, otherCpu, 1);
            bench.Naive.Replace(naive, 1, otherNaive, 1);
            bench.Naive.GroupedLinear(expected, input, naive, ids);
            bench.Cpu.GroupedLinear(actual, input, cpu, ids);
            Bench.Close(expected, actual, Tolerance(target));
            Bench.Same(before.Slice(0, 1), actual.Slice(0, 1));
            Bench.Same(before.Slice(2, 1), actual.Slice(2, 1));
            Assert.NotEqual(before.Get(1, 0), actual.Get(1, 0));
            Assert.Throws<ArgumentException>(() => bench.Cpu.Replace(cpu, 3, otherCpu, 0));
            Assert.Throws<ArgumentException>(() => bench.Naive.Replace(naive, 0, otherNaive, 2));
        }
    }

    [Fact]
    public void A_matrix_of_another_shape_or_in_other_pieces_takes_no_place()
    {
        using Bench bench = new(12);
        Weight weight = bench.Matrices(ElementType.F32, 2, 6, 64, ElementType.F32).Cpu;
        Assert.Throws<ArgumentException>(() => bench.Cpu.Replace(weight, 0, bench.Matrices(ElementType.F32, 1, 7, 64, ElementType.F32).Cpu, 0));
        Assert.Throws<ArgumentException>(() => bench.Cpu.Replace(weight, 0, bench.Matrices(ElementType.BF16, 1, 6, 64, ElementType.BF16).Cpu, 0));
        Assert.Throws<ArgumentException>(() => bench.Cpu.Replace(weight, 0, bench.Weight(ElementType.F32, 2, 6, 64).Cpu, 0));
    }

    [Fact]
    public void Weights_can_be_quantised_while_they_are_prepared()
    {
        foreach (ElementType type in Bench.WeightTypes.Where(type => Quantization.CanStore(type) && !type.IsPlain()))
        {
            using Bench bench = new(5);
            (Weight cpu, Weight naive) = bench.Weight(ElementType.BF16, 2, 150, 256, type);
            Assert.Equal(type, cpu.Type);
            Tensor ids = bench.Integers(3, 0, 299, 149, 150), expected = bench.Empty(5, 256), actual = bench.Empty(5, 256);
            bench.Naive.Embed(expected, naive, ids);
            bench.Cpu.Embed(actual, cpu, ids);
            Bench.Same(expected, actual);
            Tensor experts = bench.Integers(1, 0, 1), input = bench.Normal(3, 256), product = bench.Empty(3, 150), twin = bench.Empty(3, 150);
            bench.Naive.GroupedLinear(twin, input, naive, experts);
            bench.Cpu.GroupedLinear(product, input, cpu, experts);
            Bench.Close(twin, product, Tolerance(type));
        }
    }

    [Fact]
    public void Rows_of_every_type_are_looked_up_as_they_are_stored()
    {
        foreach (ElementType type in Bench.WeightTypes)
        {
            using Bench bench = new(8);
            (Weight cpu, Weight naive) = bench.Weight(type, 1, 140, 256);
            Tensor ids = bench.Integers(3, 0, 139, 46, 45), expected = bench.Empty(5, 256), actual = bench.Empty(5, 256);
            bench.Naive.Embed(expected, naive, ids);
            bench.Cpu.Embed(actual, cpu, ids);
            Bench.Same(expected, actual);
        }
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

    // Quantised products round their input rows to 16-bit integers.
    private static double Tolerance(ElementType type) => type.IsPlain() || type == ElementType.F8 ? 4e-6 : 5e-5;
}
