namespace XDeepServe.Kernels.Tests;

public sealed class RowTests
{
    [Fact]
    public void Norms_agree_with_the_naive_twin()
    {
        foreach ((int rows, int columns, int width) in new[] { (1, 8, 8), (5, 96, 24), (33, 1030, 1030), (70, 384, 384) })
        {
            using Bench bench = new(rows);
            Tensor input = bench.Normal(rows, columns), delta = bench.Normal(rows, columns), gain = bench.Normal(1, width);
            Tensor expected = bench.Empty(rows, columns), actual = bench.Empty(rows, columns), residual = bench.Copy(input);
            bench.Naive.RmsNorm(expected, input, gain, 1e-5f);
            bench.Cpu.RmsNorm(actual, input, gain, 1e-5f);
            Bench.Close(expected, actual, 1e-6);
            bench.Naive.AddRmsNorm(expected, input, delta, gain, 1e-5f);
            bench.Cpu.AddRmsNorm(actual, residual, delta, gain, 1e-5f);
            Bench.Close(expected, actual, 1e-6);
            Bench.Close(input, residual, 1e-7);
        }
    }

    [Fact]
    public void Centred_norms_agree_with_the_naive_twin()
    {
        foreach ((int rows, int columns, int width) in new[] { (1, 8, 8), (5, 96, 24), (33, 1030, 1030), (70, 384, 384), (3, 51, 17) })
        {
            using Bench bench = new(rows);
            Tensor input = bench.Normal(rows, columns, scale: 3), gain = bench.Normal(1, width), bias = bench.Normal(1, width);
            Tensor expected = bench.Empty(rows, columns), actual = bench.Empty(rows, columns);
            foreach (Tensor shift in new[] { default, bias })
            {
                bench.Naive.LayerNorm(expected, input, gain, shift, 1e-5f);
                bench.Cpu.LayerNorm(actual, input, gain, shift, 1e-5f);
                Bench.Close(expected, actual, 1e-6);
            }
            bench.Cpu.LayerNorm(input, input, gain, bias, 1e-5f);
            Bench.Same(actual, input);
        }
    }

    [Theory]
    [InlineData(GeluForm.Exact)]
    [InlineData(GeluForm.Tanh)]
    [InlineData(GeluForm.Quick)]
    public void Every_form_of_gelu_agrees_with_the_naive_twin(GeluForm form)
    {
        foreach (int width in new[] { 1, 16, 35, 512 })
        {
            using Bench bench = new(width);
            Tensor input = bench.Normal(21, width, scale: 4), expected = bench.Empty(21, width), actual = bench.Empty(21, width);
            bench.Naive.Gelu(expected, input, form);
            bench.Cpu.Gelu(actual, input, form);
            Bench.Close(expected, actual, 1e-6);
            bench.Cpu.Gelu(input, input, form);
            Bench.Same(actual, input);
        }
    }

    [Theory]
    [InlineData(true, 0)]
    [InlineData(false, 0)]
    [InlineData(true, 10)]
    [InlineData(false, 3)]
    public void Rotation_agrees_with_the_naive_twin(bool interleaved, int start)
    {
        using Bench bench = new(2);
        Tensor values = bench.Normal(9, 5 * 48), twin = bench.Copy(values), table = bench.Normal(40, 36);
        Tensor positions = bench.Integers(0, 39, 3, 3, 8, 9, 10, 1, 0);
        bench.Naive.Rope(values, positions, table, 48, start, interleaved);
        bench.Cpu.Rope(twin, positions, table, 48, start, interleaved);
        Bench.Close(values, twin, 1e-6);
    }

    [Fact]
    public void Gates_sums_and_gathers_agree_with_the_naive_twin()
    {
        foreach (int width in new[] { 1, 16, 35, 512 })
        {
            using Bench bench = new(width);
            Tensor input = bench.Normal(21, 2 * width, scale: 5), expected = bench.Empty(21, width), actual = bench.Empty(21, width);
            bench.Naive.SwiGlu(expected, input);
            bench.Cpu.SwiGlu(actual, input);
            Bench.Close(expected, actual, 1e-6);
            Tensor rows = bench.Normal(21, width), gates = bench.Normal(7, 3), shared = bench.Normal(7, width);
            foreach (Tensor extra in new[] { default, shared })
            {
                bench.Naive.CombineExperts(expected.Take(7), rows, gates, extra);
                bench.Cpu.CombineExperts(actual.Take(7), rows, gates, extra);
                Bench.Close(expected.Take(7), actual.Take(7), 1e-6);
            }
            Tensor picks = bench.Integers(20, 0, 0, 5);
            bench.Naive.GatherRows(expected.Take(4), rows, picks);
            bench.Cpu.GatherRows(actual.Take(4), rows, picks);
            Bench.Same(expected.Take(4), actual.Take(4));
            bench.Naive.Copy(expected, input.Cut(width / 2, width));
            bench.Cpu.Copy(actual, input.Cut(width / 2, width));
            Bench.Same(expected, actual);
            bench.Naive.Add(rows, input.Cut(0, width));
            Tensor twin = bench.Copy(rows);
            bench.Naive.Add(rows, rows);
            bench.Cpu.Add(twin, twin);
            Bench.Same(rows, twin);
        }
    }

    [Theory]
    [InlineData(true, true, 1, 1, 2)]
    [InlineData(true, true, 4, 2, 2)]
    [InlineData(false, true, 1, 1, 1)]
    [InlineData(false, false, 8, 3, 2)]
    [InlineData(false, false, 8, 3, 1)]
    [InlineData(false, false, 48, 4, 1)]
    [InlineData(true, false, 16, 16, 2)]
    public void Routing_agrees_with_the_naive_twin(bool sigmoid, bool normalize, int groups, int topGroups, int groupTerms)
    {
        using Bench bench = new(groups);
        RoutingRule rule = new(4, sigmoid, groups, topGroups, normalize, 2.5f, groupTerms);
        Tensor logits = bench.Normal(50, 48), bias = bench.Normal(1, 48, scale: 0.2f);
        foreach (Tensor correction in new[] { default, bias })
        {
            Tensor ids = bench.Empty(50, 4, ElementType.I32), twinIds = bench.Empty(50, 4, ElementType.I32);
            Tensor gates = bench.Empty(50, 4), twinGates = bench.Empty(50, 4);
            bench.Naive.Route(ids, gates, logits, correction, rule);
            bench.Cpu.Route(twinIds, twinGates, logits, correction, rule);
            Bench.Same(ids, twinIds);
            Bench.Close(gates, twinGates, 1e-6);
        }
    }

    [Fact]
    public void Counts_of_chosen_experts_add_up_over_calls()
    {
        using Bench bench = new(3);
        Tensor expected = bench.Empty(1, 19, ElementType.I32), actual = bench.Empty(1, 19, ElementType.I32);
        for (int expert = 0; expert < 19; expert++)
            expected.Int(0, expert) = actual.Int(0, expert) = 0;
        foreach (int rows in new[] { 1, 7, 130 })
        {
            Tensor ids = bench.Empty(rows, 3, ElementType.I32);
            for (int row = 0; row < rows; row++)
                for (int k = 0; k < 3; k++)
                    ids.Int(row, k) = bench.Random.Next(19);
            bench.Naive.CountExperts(expected, ids);
            bench.Cpu.CountExperts(actual, ids);
        }
        Bench.Same(expected, actual);
        Assert.Equal(3 * 138, Enumerable.Range(0, 19).Sum(expert => actual.Int(0, expert)));
    }
}
