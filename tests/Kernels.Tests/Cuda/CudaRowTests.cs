namespace XDeepServe.Kernels.Tests.Cuda;

[Collection("cuda")]
public sealed class CudaRowTests(CudaDevice device)
{
    [Fact]
    public void Norms_agree_with_the_naive_twin()
    {
        foreach ((int rows, int columns, int width) in new[] { (1, 8, 8), (5, 96, 24), (33, 1030, 1030), (7, 384, 384), (3, 2500, 2500) })
        {
            using Mirror mirror = device.Open(rows);
            Tensor input = mirror.Host.Normal(rows, columns), delta = mirror.Host.Normal(rows, columns), gain = mirror.Host.Normal(1, width), bias = mirror.Host.Normal(1, width);
            Tensor expected = mirror.Host.Empty(rows, columns), actual = mirror.Poisoned(rows, columns), residual = mirror.Up(input);
            (Tensor gains, Tensor biases) = (mirror.Up(gain), mirror.Up(bias));
            mirror.Naive.RmsNorm(expected, input, gain, 1e-5f);
            mirror.Gpu.RmsNorm(actual, residual, gains, 1e-5f);
            mirror.Near(expected, actual, 1e-5, "RmsNorm");
            mirror.Naive.LayerNorm(expected, input, gain, bias, 1e-5f);
            mirror.Gpu.LayerNorm(actual, residual, gains, biases, 1e-5f);
            mirror.Near(expected, actual, 1e-5, "LayerNorm");
            mirror.Naive.AddRmsNorm(expected, input, delta, gain, 1e-5f);
            mirror.Gpu.AddRmsNorm(actual, residual, mirror.Up(delta), gains, 1e-5f);
            mirror.Near(expected, actual, 1e-5, "AddRmsNorm");
            mirror.Near(input, residual, 1e-6, "the sum of AddRmsNorm");
            mirror.Naive.AddLayerNorm(expected, input, delta, gain, bias, 1e-5f);
            mirror.Gpu.AddLayerNorm(actual, residual, mirror.Up(delta), gains, biases, 1e-5f);
            mirror.Near(expected, actual, 1e-5, "AddLayerNorm");
            mirror.Near(input, residual, 1e-6, "the sum of AddLayerNorm");
        }
    }

    [Theory]
    [InlineData(true, 0)]
    [InlineData(false, 0)]
    [InlineData(true, 10)]
    [InlineData(false, 3)]
    public void Rotation_agrees_with_the_naive_twin(bool interleaved, int start)
    {
        using Mirror mirror = device.Open(2);
        Tensor values = mirror.Host.Normal(9, 5 * 48), twin = mirror.Up(values), table = mirror.Host.Normal(40, 36);
        Tensor positions = mirror.Host.Integers(0, 39, 3, 3, 8, 9, 10, 1, 0);
        mirror.Naive.Rope(values, positions, table, 48, start, interleaved);
        mirror.Gpu.Rope(twin, mirror.Up(positions), mirror.Up(table), 48, start, interleaved);
        mirror.Near(values, twin, 1e-6, "Rope");
    }

    [Fact]
    public void Gates_sums_and_gathers_agree_with_the_naive_twin()
    {
        foreach (int width in new[] { 1, 16, 35, 512 })
        {
            using Mirror mirror = device.Open(width);
            Bench host = mirror.Host;
            Tensor input = host.Normal(21, 2 * width, scale: 5), expected = host.Empty(21, width), actual = mirror.Poisoned(21, width);
            Tensor there = mirror.Up(input);
            mirror.Naive.SwiGlu(expected, input);
            mirror.Gpu.SwiGlu(actual, there);
            mirror.Near(expected, actual, 1e-5, "SwiGlu");
            foreach (GeluForm form in Enum.GetValues<GeluForm>())
            {
                mirror.Naive.Gelu(expected, input.Cut(0, width), form);
                mirror.Gpu.Gelu(actual, there.Cut(0, width), form);
                mirror.Near(expected, actual, 1e-5, $"Gelu {form}");
            }
            Tensor rows = host.Normal(21, width), gates = host.Normal(7, 3), shared = host.Normal(7, width);
            Tensor rowsThere = mirror.Up(rows), sums = host.Empty(7, width), sumsThere = mirror.Poisoned(7, width);
            foreach (Tensor extra in new[] { default, shared })
            {
                mirror.Naive.CombineExperts(sums, rows, gates, extra);
                mirror.Gpu.CombineExperts(sumsThere, rowsThere, mirror.Up(gates), mirror.Up(extra));
                mirror.Near(sums, sumsThere, 1e-5, "CombineExperts");
            }
            Tensor stream = host.Normal(7, width), gain = host.Normal(1, width), normed = host.Empty(7, width);
            (Tensor streamThere, Tensor normedThere, Tensor gainThere) = (mirror.Up(stream), mirror.Poisoned(7, width), mirror.Up(gain));
            mirror.Naive.AddRmsNorm(normed, stream, sums, gain, 1e-5f);
            mirror.Gpu.CombineExperts(sumsThere, rowsThere, mirror.Up(gates), mirror.Up(shared));
            mirror.Gpu.AddRmsNorm(normedThere, streamThere, sumsThere, gainThere, 1e-5f);
            mirror.Near(normed, normedThere, 1e-5, "CombineExperts and AddRmsNorm");
            mirror.Near(stream, streamThere, 1e-5, "the stream behind them");
            Tensor picks = host.Integers(20, 0, 0, 5), picked = host.Empty(4, width), pickedThere = mirror.Poisoned(4, width);
            mirror.Naive.GatherRows(picked, rows, picks);
            mirror.Gpu.GatherRows(pickedThere, rowsThere, mirror.Up(picks));
            Bench.Same(picked, mirror.Down(pickedThere));
            mirror.Naive.Add(rows, input.Cut(0, width));
            mirror.Gpu.Add(rowsThere, there.Cut(0, width));
            Bench.Same(rows, mirror.Down(rowsThere));
            mirror.Gpu.Copy(actual, there.Cut(width, width));
            mirror.Naive.Copy(expected, input.Cut(width, width));
            Bench.Same(expected, mirror.Down(actual));
        }
    }

    [Theory]
    [InlineData(ElementType.F32)]
    [InlineData(ElementType.BF16)]
    [InlineData(ElementType.Q8_0)]
    [InlineData(ElementType.F8)]
    public void Tokens_are_gathered_and_embedded(ElementType type)
    {
        using Mirror mirror = device.Open(6);
        (Weight gpu, Weight naive) = mirror.Weight(type, 1, 40, 96);
        Tensor tokens = mirror.Host.Empty(3, 7, ElementType.I32);
        for (int slot = 0; slot < 3; slot++)
            for (int i = 0; i < 7; i++)
                tokens.Int(slot, i) = mirror.Host.Random.Next(40);
        Tensor slots = mirror.Host.Integers(2, 0, 1, 1, 2), positions = mirror.Host.Integers(6, 0, 3, 4, 1);
        Tensor ids = mirror.Host.Empty(5, 1, ElementType.I32), there = mirror.Up(ids), expected = mirror.Host.Empty(5, 96), actual = mirror.Poisoned(5, 96);
        mirror.Naive.GatherTokens(ids, tokens, slots, positions);
        mirror.Gpu.GatherTokens(there, mirror.Up(tokens), mirror.Up(slots), mirror.Up(positions));
        Bench.Same(ids, mirror.Down(there));
        mirror.Naive.Embed(expected, naive, ids);
        mirror.Gpu.Embed(actual, gpu, there);
        Bench.Same(expected, mirror.Down(actual));
    }

    [Fact]
    public void A_repeated_step_sees_new_values()
    {
        using Mirror mirror = device.Open(8);
        (Weight gpu, Weight naive) = mirror.Weight(ElementType.BF16, 1, 50, 64);
        Tensor there = mirror.Up(mirror.Host.Normal(2, 64)), actual = mirror.Poisoned(2, 50), expected = mirror.Host.Empty(2, 50);
        for (int round = 0; round < 4; round++)
        {
            Tensor input = mirror.Host.Normal(2, 64);
            for (int row = 0; row < 2; row++)
                mirror.Gpu.Upload<float>(there.Slice(row, 1), input.Floats(row));
            mirror.Gpu.Repeat(77, () => mirror.Gpu.Linear(actual, there, gpu));
            mirror.Naive.Linear(expected, input, naive);
            mirror.Near(expected, actual, 1e-4, $"round {round}");
        }
    }

    [Fact]
    public void Random_weights_are_the_same_for_every_layout()
    {
        using Mirror mirror = device.Open(9);
        Tensor ids = mirror.Up(mirror.Host.Integers([.. Enumerable.Range(0, 30)])), one = mirror.Poisoned(30, 64), other = mirror.Poisoned(30, 64);
        using (Weight bare = mirror.Gpu.Prepare(new WeightSource(ElementType.BF16, 64, 1, [new WeightPiece(0, 10, Seed: 3), new WeightPiece(0, 20, Seed: 4)]), ElementType.BF16))
            mirror.Gpu.Embed(one, bare, ids);
        using (Weight wide = mirror.Gpu.Prepare(new WeightSource(ElementType.BF16, 64, 3, [new WeightPiece(0, 10, Seed: 3), new WeightPiece(0, 20, Seed: 4)]), ElementType.F32))
            mirror.Gpu.Embed(other, wide, ids);
        Tensor values = mirror.Down(one);
        Bench.Same(values, mirror.Down(other));
        double mean = 0, square = 0;
        for (int row = 0; row < 30; row++)
            foreach (float value in values.Floats(row))
                (mean, square) = (mean + value / 1920.0, square + value * value / 1920.0);
        Assert.InRange(mean, -0.02, 0.02);
        Assert.InRange(square * 64, 0.8, 1.2);
    }
}
