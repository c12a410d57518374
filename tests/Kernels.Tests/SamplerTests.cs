namespace XDeepServe.Kernels.Tests;

public sealed class SamplerTests
{
    [Fact]
    public void Choices_agree_with_the_naive_twin()
    {
        for (int round = 0; round < 100; round++)
        {
            using Bench bench = new(round, threads: 1 + round % 2);
            int vocabulary = bench.Random.Next(2, 400), rows = bench.Random.Next(1, 9);
            Tensor logits = bench.Normal(rows, vocabulary, scale: 3);
            for (int row = 0; row < rows; row++)
                for (int i = 0; i < vocabulary; i += 7)
                    logits.Set(row, i, MathF.Round(logits.Get(row, i))); // equal values
            SamplingBatch batch = Batch(bench, rows, vocabulary, row => (
                [row % 4 == 0 ? 0 : 0.3f + bench.Random.NextSingle() * 2, row % 3 == 0 ? 1 : bench.Random.NextSingle(), row % 5 == 1 ? 0.05f : 0, 1.3f, 0.5f, 0.2f],
                [row % 2 == 0 ? 0 : bench.Random.Next(1, vocabulary + 2), bench.Random.Next(), row, bench.Random.Next(100), row % 2]));
            Tensor ids = bench.Empty(rows, 1, ElementType.I32), twins = bench.Empty(rows, 1, ElementType.I32);
            bench.Naive.Sample(ids, logits, batch);
            bench.Cpu.Sample(twins, logits, batch);
            Bench.Same(ids, twins);
            Assert.Equal(twins.Int(rows - 1), batch.Tokens.Int(batch.Slots.Int(rows - 1), batch.Lengths.Int(rows - 1)));
        }
    }

    [Fact]
    public void Draws_follow_the_distribution()
    {
        using Bench bench = new(1);
        const int Vocabulary = 8, Draws = 20000;
        Tensor logits = bench.Normal(1, Vocabulary), id = bench.Empty(1, 1, ElementType.I32);
        int[] counts = new int[Vocabulary];
        SamplingBatch batch = Batch(bench, 1, Vocabulary, _ => ([0.7f, 1, 0, 1, 0, 0], [0, 42, 0, 0, 0]));
        for (int draw = 0; draw < Draws; draw++)
        {
            batch.Integers.Int(0, 3) = draw;
            bench.Cpu.Sample(id, logits, batch);
            counts[id.Int(0)]++;
        }
        double total = Enumerable.Range(0, Vocabulary).Sum(i => Math.Exp(logits.Get(0, i) / 0.7));
        double chiSquare = Enumerable.Range(0, Vocabulary).Sum(i =>
        {
            double expected = Draws * Math.Exp(logits.Get(0, i) / 0.7) / total;
            return (counts[i] - expected) * (counts[i] - expected) / expected;
        });
        Assert.InRange(chiSquare, 0, 24.3); // 7 degrees of freedom, one chance in a thousand
    }

    [Fact]
    public void Cuts_keep_what_they_promise()
    {
        using Bench bench = new(2);
        Tensor logits = bench.Empty(1, 5), id = bench.Empty(1, 1, ElementType.I32);
        float[] values = [1, 3, 2, 3, -1];
        values.CopyTo(logits.Floats(0));
        HashSet<int> Seen(float topP, float minP, int topK)
        {
            SamplingBatch batch = Batch(bench, 1, 5, _ => ([1, topP, minP, 1, 0, 0], [topK, 7, 0, 0, 0]));
            HashSet<int> seen = [];
            for (int draw = 0; draw < 500; draw++)
            {
                batch.Integers.Int(0, 3) = draw;
                bench.Cpu.Sample(id, logits, batch);
                seen.Add(id.Int(0));
            }
            return seen;
        }
        Assert.Equal([1], Seen(1e-6f, 0, 0).Order());
        Assert.Equal([1], Seen(1, 0, 1).Order());
        Assert.Equal([1, 3], Seen(1, 0, 2).Order());
        Assert.Equal([1, 3], Seen(1, 0.9f, 0).Order());
        Assert.Equal([1, 3], Seen(0.7f, 0, 0).Order());
        Assert.Equal([1, 2, 3], Seen(1, 0.3f, 4).Order());
        Assert.Equal([0, 1, 2, 3, 4], Seen(1, 0, 0).Order());
    }

    [Fact]
    public void Logits_without_a_number_end_in_some_token()
    {
        using Bench bench = new(3);
        foreach (float value in new[] { float.NaN, float.PositiveInfinity, float.NegativeInfinity })
        {
            Tensor logits = bench.Normal(1, 40), id = bench.Empty(1, 1, ElementType.I32);
            for (int i = 0; i < 40; i++)
                logits.Set(0, i, value);
            bench.Cpu.Sample(id, logits, Batch(bench, 1, 40, _ => ([1, 0.9f, 0, 1, 0, 0], [5, 1, 2, 3, 0])));
            Assert.InRange(id.Int(0), 0, 39);
        }
    }

    [Fact]
    public void Log_probabilities_agree_with_the_naive_twin()
    {
        foreach (int vocabulary in new[] { 3, 16, 1000 })
        {
            using Bench bench = new(vocabulary);
            int top = Math.Min(5, vocabulary);
            Tensor logits = bench.Normal(4, vocabulary, scale: 4), ids = bench.Integers(0, 2, 1, vocabulary - 1);
            (Tensor chosen, Tensor topIds, Tensor topValues) = (bench.Empty(4, 2), bench.Empty(4, top, ElementType.I32), bench.Empty(4, top));
            (Tensor twin, Tensor twinIds, Tensor twinValues) = (bench.Empty(4, 2), bench.Empty(4, top, ElementType.I32), bench.Empty(4, top));
            bench.Naive.LogProbabilities(chosen, topIds, topValues, logits, ids);
            bench.Cpu.LogProbabilities(twin, twinIds, twinValues, logits, ids);
            Bench.Close(chosen.Cut(0, 1), twin.Cut(0, 1), 1e-6);
            Bench.Same(chosen.Cut(1, 1), twin.Cut(1, 1));
            Bench.Same(topIds, twinIds);
            Bench.Close(topValues, twinValues, 1e-6);
        }
    }

    internal static SamplingBatch Batch(Bench bench, int rows, int vocabulary, Func<int, (float[] Reals, int[] Integers)> parameters)
    {
        Tensor tokens = bench.Empty(rows, 20, ElementType.I32), reals = bench.Empty(rows, 6), integers = bench.Empty(rows, 5, ElementType.I32);
        int[] lengths = new int[rows], biases = new int[rows + 1];
        for (int row = 0; row < rows; row++)
        {
            (float[] real, int[] integer) = parameters(row);
            real.CopyTo(reals.Floats(row));
            for (int i = 0; i < 5; i++)
                integers.Int(row, i) = integer[i];
            lengths[row] = bench.Random.Next(4, 19);
            for (int i = 0; i < lengths[row]; i++)
                tokens.Int(row, i) = bench.Random.Next(Math.Min(vocabulary, 12));
            biases[row + 1] = biases[row] + (integers.Int(row, 4) != 0 ? 1 : 0);
        }
        int entries = Math.Max(1, biases[rows]);
        Tensor biasIds = bench.Empty(entries, 1, ElementType.I32), biasValues = bench.Normal(entries, 1);
        for (int entry = 0; entry < entries; entry++)
            biasIds.Int(entry) = bench.Random.Next(vocabulary);
        return new SamplingBatch(
            bench.Integers([.. Enumerable.Range(0, rows).Reverse()]), bench.Integers(lengths), bench.Integers([.. lengths.Select(length => length / 2)]),
            tokens, reals, integers, bench.Integers(biases), biasIds, biasValues);
    }
}
