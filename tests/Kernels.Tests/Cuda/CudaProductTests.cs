namespace XDeepServe.Kernels.Tests.Cuda;

[Collection("cuda")]
public sealed class CudaProductTests(CudaDevice device)
{
    private static readonly (int Tokens, int Rows, int Columns)[] Shapes =
        [(1, 1, 32), (2, 17, 64), (5, 33, 96), (1, 515, 1024), (8, 48, 512), (13, 16, 544), (31, 130, 416), (33, 129, 224), (70, 200, 96), (150, 300, 512), (3, 40, 2080), (9, 33, 4128)];

    public static TheoryData<ElementType, ElementType> Types
    {
        get
        {
            TheoryData<ElementType, ElementType> types = [];
            foreach (ElementType type in Bench.WeightTypes.Where(type => type is not (ElementType.Q4_K or ElementType.Q5_K or ElementType.Q6_K)))
                foreach (ElementType activations in new[] { ElementType.F32, ElementType.BF16 })
                    types.Add(type, activations);
            return types;
        }
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void Linear_agrees_with_the_naive_twin(ElementType type, ElementType activations)
    {
        foreach ((int tokens, int rows, int columns) in Shapes)
        {
            using Mirror mirror = device.Open(tokens + rows, activations);
            (Weight gpu, Weight naive) = mirror.Weight(type, 1, rows, columns);
            Tensor input = mirror.Host.Normal(tokens, columns), bias = mirror.Host.Normal(1, rows), expected = mirror.Host.Empty(tokens, rows);
            Tensor actual = mirror.Poisoned(tokens, rows);
            mirror.Naive.Linear(expected, input, naive, bias);
            mirror.Gpu.Linear(actual, mirror.Up(input), gpu, mirror.Up(bias));
            mirror.Near(expected, actual, Tolerance(type, activations), $"{type}, {tokens} x {columns} by {rows}");
        }
    }

    [Theory]
    [InlineData(ElementType.BF16, ElementType.BF16)]
    [InlineData(ElementType.BF16, ElementType.F32)]
    [InlineData(ElementType.Q8_0, ElementType.BF16)]
    public void Rows_of_a_large_product_do_not_depend_on_those_beside_them(ElementType type, ElementType activations)
    {
        const int Rows = 18_009, Columns = 544;
        using Mirror mirror = device.Open(Rows, activations);
        (Weight gpu, Weight naive) = mirror.Weight(type, 1, Rows, Columns);
        foreach (int tokens in new[] { 10, 19 })
        {
            Tensor input = mirror.Host.Normal(tokens, Columns), there = mirror.Up(input), expected = mirror.Host.Empty(tokens, Rows);
            Tensor together = mirror.Poisoned(tokens, Rows), alone = mirror.Poisoned(tokens, Rows);
            mirror.Naive.Linear(expected, input, naive);
            mirror.Gpu.Linear(together, there, gpu);
            for (int token = 0; token < tokens; token++)
                mirror.Gpu.Linear(alone.Slice(token, 1), there.Slice(token, 1), gpu);
            mirror.Near(expected, together, Tolerance(type, activations), $"{type}, {tokens} tokens");
            Bench.Same(mirror.Down(alone), mirror.Down(together));
        }
    }

    [Theory]
    [InlineData(ElementType.F32)]
    [InlineData(ElementType.BF16)]
    public void Linear_takes_columns_that_fill_no_vector(ElementType type)
    {
        foreach (int tokens in new[] { 3, 40 })
        {
            using Mirror mirror = device.Open(tokens);
            (Weight gpu, Weight naive) = mirror.Weight(type, 1, 7, 43);
            Tensor input = mirror.Host.Normal(tokens, 43), expected = mirror.Host.Empty(tokens, 7), actual = mirror.Poisoned(tokens, 7);
            mirror.Naive.Linear(expected, input, naive);
            mirror.Gpu.Linear(actual, mirror.Up(input), gpu);
            mirror.Near(expected, actual, 1e-4, $"{type}, {tokens} tokens");
        }
    }

    [Theory]
    [InlineData(ElementType.F32)]
    [InlineData(ElementType.BF16)]
    [InlineData(ElementType.Q8_0)]
    [InlineData(ElementType.F8)]
    public void Gated_products_agree_with_the_naive_twin(ElementType type)
    {
        foreach ((int tokens, int width, int columns) in new[] { (1, 48, 256), (5, 35, 96), (20, 16, 64), (50, 70, 128) })
        {
            using Mirror mirror = device.Open(tokens);
            (Weight gpu, Weight naive) = mirror.Weight(type, 1, 2 * width, columns);
            Tensor input = mirror.Host.Normal(tokens, columns), expected = mirror.Host.Empty(tokens, width), actual = mirror.Poisoned(tokens, width);
            Tensor bias = tokens == 5 ? mirror.Host.Normal(1, 2 * width) : default;
            mirror.Naive.LinearSwiGlu(expected, mirror.Host.Empty(tokens, 2 * width), input, naive, bias);
            mirror.Gpu.LinearSwiGlu(actual, mirror.Poisoned(tokens, 2 * width), mirror.Up(input), gpu, mirror.Up(bias));
            mirror.Near(expected, actual, 2 * Tolerance(type, ElementType.F32), $"{type}, {tokens} tokens");
        }
    }

    [Theory]
    [InlineData(ElementType.F32, ElementType.F32)]
    [InlineData(ElementType.BF16, ElementType.F32)]
    [InlineData(ElementType.Q8_0, ElementType.F32)]
    [InlineData(ElementType.BF16, ElementType.BF16)]
    [InlineData(ElementType.Q8_0, ElementType.BF16)]
    [InlineData(ElementType.F8, ElementType.F32)]
    [InlineData(ElementType.F8, ElementType.BF16)]
    public void Grouped_products_agree_with_the_naive_twin(ElementType type, ElementType activations)
    {
        foreach ((int tokens, int topK, int experts) in new[] { (1, 2, 5), (9, 3, 4), (40, 4, 7), (70, 2, 3), (300, 4, 9) })
        {
            using Mirror mirror = device.Open(tokens, activations);
            const int Rows = 70, Columns = 96;
            (Weight gpu, Weight naive) = mirror.Weight(type, experts, Rows, Columns);
            Tensor ids = mirror.Host.Empty(tokens, topK, ElementType.I32);
            for (int token = 0; token < tokens; token++)
                for (int k = 0; k < topK; k++)
                    ids.Int(token, k) = (token * mirror.Host.Random.Next(3) + k) % experts;
            Tensor there = mirror.Up(ids);
            foreach (int rows in new[] { tokens, tokens * topK })
            {
                Tensor input = mirror.Host.Normal(rows, Columns), expected = mirror.Host.Empty(tokens * topK, Rows), actual = mirror.Poisoned(tokens * topK, Rows);
                mirror.Naive.GroupedLinear(expected, input, naive, ids);
                mirror.Gpu.GroupedLinear(actual, mirror.Up(input), gpu, there);
                mirror.Near(expected, actual, Tolerance(type, activations), $"{type}, {tokens} tokens, {rows} rows");
                Tensor gated = mirror.Host.Empty(tokens * topK, Rows / 2), twin = mirror.Poisoned(tokens * topK, Rows / 2);
                mirror.Naive.GroupedSwiGlu(gated, mirror.Host.Empty(tokens * topK, Rows), input, naive, ids);
                mirror.Gpu.GroupedSwiGlu(twin, mirror.Poisoned(tokens * topK, Rows), mirror.Up(input), gpu, there);
                mirror.Near(gated, twin, 2 * Tolerance(type, activations), $"gated {type}, {tokens} tokens, {rows} rows");
            }
        }
    }

    [Theory]
    [InlineData(ElementType.F32, ElementType.F32)]
    [InlineData(ElementType.BF16, ElementType.F32)]
    [InlineData(ElementType.BF16, ElementType.BF16)]
    [InlineData(ElementType.Q8_0, ElementType.BF16)]
    public void Both_products_of_experts_agree_with_the_naive_twin(ElementType type, ElementType activations)
    {
        foreach ((int tokens, int topK, int experts, int hidden, int width) in new[]
            { (1, 1, 1, 16, 8), (1, 8, 9, 416, 200), (2, 3, 5, 72, 40), (13, 3, 4, 200, 88), (32, 8, 11, 136, 56), (33, 2, 3, 64, 32), (5, 9, 12, 64, 32), (70, 3, 9, 100, 72), (300, 4, 5, 136, 40), (300, 4, 5, 160, 96) })
        {
            if (type == ElementType.Q8_0 && (hidden % 32 != 0 || width % 32 != 0))
                continue; // whole blocks only
            using Mirror mirror = device.Open(tokens + width, activations);
            (Weight up, Weight upTwin) = mirror.Weight(type, experts, 2 * width, hidden);
            (Weight down, Weight downTwin) = mirror.Weight(type, experts, hidden, width);
            Tensor ids = Chosen(mirror, tokens, topK, experts), input = mirror.Host.Normal(tokens, hidden), there = mirror.Up(ids), normed = mirror.Up(input);
            Tensor gated = mirror.Host.Empty(tokens * topK, width), expected = mirror.Host.Empty(tokens * topK, hidden);
            mirror.Naive.GroupedSwiGlu(gated, mirror.Host.Empty(tokens * topK, 2 * width), input, upTwin, ids);
            mirror.Naive.GroupedLinear(expected, gated, downTwin, ids);
            Tensor first = Run();
            mirror.Near(expected, first, 2 * Tolerance(type, activations), $"{type}, {tokens} tokens, {topK} of {experts} experts of {width}");
            for (int again = 0; again < 3; again++)
                Bench.Same(mirror.Down(first), mirror.Down(Run()));

            Tensor Run()
            {
                Tensor middle = mirror.Poisoned(tokens * topK, width), output = mirror.Poisoned(tokens * topK, hidden);
                mirror.Gpu.GroupedSwiGlu(middle, mirror.Poisoned(tokens * topK, 2 * width), normed, up, there);
                mirror.Gpu.GroupedLinear(output, middle, down, there);
                return output;
            }
        }
    }

    [Fact]
    public void A_matrix_takes_anothers_place_and_its_neighbours_stay()
    {
        foreach (ElementType type in new[] { ElementType.F32, ElementType.BF16, ElementType.Q8_0, ElementType.F8 })
        {
            using Mirror mirror = device.Open(9);
            (Weight gpu, Weight naive) = mirror.Weight(type, 3, 70, 96);
            (Weight otherGpu, Weight otherNaive) = mirror.Weight(type, 2, 70, 96, maker: mirror.Beside);
            mirror.Beside.Synchronize();
            Tensor input = mirror.Host.Normal(3, 96), ids = mirror.Host.Integers(0, 1, 2), expected = mirror.Host.Empty(3, 70), actual = mirror.Poisoned(3, 70);
            mirror.Naive.Replace(naive, 1, otherNaive, 1);
            mirror.Gpu.Replace(gpu, 1, otherGpu, 1);
            mirror.Naive.GroupedLinear(expected, input, naive, ids);
            mirror.Gpu.GroupedLinear(actual, mirror.Up(input), gpu, mirror.Up(ids));
            mirror.Near(expected, actual, Tolerance(type, ElementType.F32), $"{type}");
        }
    }

    [Fact]
    public void A_row_of_few_is_the_same_in_every_batch()
    {
        foreach (ElementType type in new[] { ElementType.BF16, ElementType.Q8_0, ElementType.F8 })
        {
            using Mirror mirror = device.Open(3);
            Weight weight = mirror.Weight(type, 1, 77, 160).Gpu;
            Tensor input = mirror.Up(mirror.Host.Normal(27, 160)), together = mirror.Poisoned(27, 77), alone = mirror.Poisoned(27, 77);
            mirror.Gpu.Linear(together, input, weight);
            for (int row = 0; row < 27; row++)
                mirror.Gpu.Linear(alone.Slice(row, 1), input.Slice(row, 1), weight);
            Bench.Same(mirror.Down(together), mirror.Down(alone));
        }
    }

    [Fact]
    public void Weights_can_be_quantised_while_they_are_prepared()
    {
        using Mirror mirror = device.Open(5);
        (Weight gpu, Weight naive) = mirror.Weight(ElementType.BF16, 2, 24, 64, ElementType.Q8_0);
        Assert.Equal(ElementType.Q8_0, gpu.Type);
        Tensor ids = mirror.Host.Integers(3, 0, 23, 9), expected = mirror.Host.Empty(4, 64), actual = mirror.Poisoned(4, 64);
        mirror.Naive.Embed(expected, naive, ids);
        mirror.Gpu.Embed(actual, gpu, mirror.Up(ids));
        Bench.Same(expected, mirror.Down(actual));
    }

    /// <summary>Ids of experts, of which a token's are different, and some are chosen by more than eight tokens.</summary>
    private static Tensor Chosen(Mirror mirror, int tokens, int topK, int experts)
    {
        Tensor ids = mirror.Host.Empty(tokens, topK, ElementType.I32);
        for (int token = 0; token < tokens; token++)
        {
            int start = mirror.Host.Random.Next(2) * token;
            for (int k = 0; k < topK; k++)
                ids.Int(token, k) = (start + k) % experts;
        }
        return ids;
    }

    // Bytes with a factor a row: the twin rounds the input to bytes too, the GPU does not.
    private static double Tolerance(ElementType type, ElementType activations) => type == ElementType.I8 ? 4e-2 :
        activations == ElementType.BF16 || type is not (ElementType.F32 or ElementType.BF16 or ElementType.Q8_0) ? 1e-2 : type == ElementType.Q8_0 ? 4e-3 : 1e-4;
}
