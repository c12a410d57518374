namespace XDeepServe.Kernels.Tests.Cuda;

[Collection("cuda")]
public sealed class CudaChoosingTests(CudaDevice device)
{
    [Theory]
    [InlineData(true, true, 1, 1, 2)]
    [InlineData(true, true, 4, 2, 2)]
    [InlineData(false, true, 1, 1, 2)]
    [InlineData(false, false, 8, 3, 1)]
    [InlineData(true, false, 16, 16, 2)]
    public void Routing_agrees_with_the_naive_twin(bool sigmoid, bool normalize, int groups, int topGroups, int terms)
    {
        using Mirror mirror = device.Open(groups);
        RoutingRule rule = new(4, sigmoid, groups, topGroups, normalize, 2.5f, terms);
        Tensor logits = mirror.Host.Normal(50, 48), bias = mirror.Host.Normal(1, 48, scale: 0.2f), there = mirror.Up(logits);
        foreach (Tensor correction in new[] { default, bias })
        {
            Tensor ids = mirror.Host.Empty(50, 4, ElementType.I32), gates = mirror.Host.Empty(50, 4);
            (Tensor idsThere, Tensor gatesThere) = (mirror.Up(ids), mirror.Poisoned(50, 4));
            mirror.Naive.Route(ids, gates, logits, correction, rule);
            mirror.Gpu.Route(idsThere, gatesThere, there, mirror.Up(correction), rule);
            Bench.Same(ids, mirror.Down(idsThere));
            mirror.Near(gates, gatesThere, 1e-5, "gates");
            Tensor counts = mirror.Host.Empty(1, 48, ElementType.I32);
            for (int expert = 0; expert < 48; expert++)
                counts.Int(0, expert) = expert;
            Tensor countsThere = mirror.Up(counts);
            mirror.Naive.CountExperts(counts, ids);
            mirror.Gpu.CountExperts(countsThere, idsThere);
            Bench.Same(counts, mirror.Down(countsThere));
        }
    }

    [Theory]
    [InlineData(1, 64, 48, 1)]
    [InlineData(3, 100, 60, 1)]
    [InlineData(10, 2048, 128, 1)]
    [InlineData(31, 2500, 160, 8)]
    public void A_norm_with_the_router_and_the_choice_agrees_with_the_naive_twin(int tokens, int width, int experts, int groups)
    {
        if (CudaDevice.Small)
            (tokens, width) = (Math.Min(tokens, 3), Math.Min(width, 260));
        using Mirror mirror = device.Open(width);
        RoutingRule rule = new(4, groups > 1, groups, (groups + 1) / 2, true, 2.5f, 2);
        (Weight gpu, Weight naive) = mirror.Weight(ElementType.F32, 1, experts, width);
        Tensor residual = mirror.Host.Normal(tokens, width), delta = mirror.Host.Normal(tokens, width), gain = mirror.Host.Normal(1, width), bias = mirror.Host.Normal(1, experts, scale: 0.2f);
        (Tensor normed, Tensor logits, Tensor ids, Tensor gates) = (mirror.Host.Empty(tokens, width), mirror.Host.Empty(tokens, experts), mirror.Host.Empty(tokens, 4, ElementType.I32), mirror.Host.Empty(tokens, 4));
        (Tensor stream, Tensor normedThere, Tensor logitsThere, Tensor idsThere, Tensor gatesThere) =
            (mirror.Up(residual), mirror.Poisoned(tokens, width), mirror.Poisoned(tokens, experts), mirror.Up(ids), mirror.Poisoned(tokens, 4));
        mirror.Gpu.AddRmsNorm(normedThere, stream, mirror.Up(delta), mirror.Up(gain), 1e-5f);
        mirror.Gpu.Linear(logitsThere, normedThere, gpu);
        mirror.Gpu.Route(idsThere, gatesThere, logitsThere, mirror.Up(bias), rule);
        mirror.Naive.AddRmsNorm(normed, residual, delta, gain, 1e-5f);
        mirror.Naive.Linear(logits, normed, naive);
        mirror.Naive.Route(ids, gates, logits, bias, rule);
        mirror.Near(residual, stream, 1e-6, "stream");
        mirror.Near(normed, normedThere, 1e-5, "norm");
        mirror.Near(logits, logitsThere, 1e-5, "logits");
        Bench.Same(ids, mirror.Down(idsThere));
        mirror.Near(gates, gatesThere, 1e-4, "gates");
    }

    [Fact]
    public void Choices_agree_with_the_naive_twin()
    {
        for (int round = 0; round < (CudaDevice.Small ? 6 : 60); round++)
        {
            using Mirror mirror = device.Open(round);
            Bench host = mirror.Host;
            int vocabulary = round >= 3 ? host.Random.Next(2, 400) : CudaDevice.Small ? 1500 : 9000, rows = host.Random.Next(1, CudaDevice.Small ? 4 : 9);
            Tensor logits = host.Normal(rows, vocabulary, scale: round == 1 ? 0.02f : 3);
            for (int row = 0; row < rows; row++)
                for (int i = 0; i < vocabulary; i += 7)
                    logits.Set(row, i, MathF.Round(logits.Get(row, i))); // equal values
            SamplingBatch batch = SamplerTests.Batch(host, rows, vocabulary, row => (
                [row % 4 == 0 ? 0 : 0.3f + host.Random.NextSingle() * 2, row % 3 == 0 ? 1 : host.Random.NextSingle(), row % 5 == 1 ? 0.05f : 0, 1.3f, 0.5f, 0.2f],
                [row % 2 == 0 ? 0 : host.Random.Next(1, vocabulary + 2), host.Random.Next(), row, host.Random.Next(100), row % 2]));
            SamplingBatch there = new(
                mirror.Up(batch.Slots), mirror.Up(batch.Lengths), mirror.Up(batch.PromptLengths), mirror.Up(batch.Tokens), mirror.Up(batch.Reals),
                mirror.Up(batch.Integers), mirror.Up(batch.BiasStarts), mirror.Up(batch.BiasIds), mirror.Up(batch.BiasValues));
            Tensor ids = host.Empty(rows, 1, ElementType.I32), idsThere = mirror.Up(ids), logitsThere = mirror.Up(logits);
            mirror.Naive.Sample(ids, logits, batch);
            for (int repeat = CudaDevice.Small ? 1 : 0; repeat < 2; repeat++)
            {
                mirror.Gpu.Sample(idsThere, logitsThere, there);
                Bench.Same(ids, mirror.Down(idsThere));
            }
            Bench.Same(batch.Tokens, mirror.Down(there.Tokens));
            Bench.Same(logits, mirror.Down(logitsThere));
        }
    }

    [Fact]
    public void Log_probabilities_agree_with_the_naive_twin()
    {
        foreach (int vocabulary in new[] { 3, 16, 1000, 5000 })
        {
            using Mirror mirror = device.Open(vocabulary);
            int top = Math.Min(5, vocabulary);
            Tensor logits = mirror.Host.Normal(4, vocabulary, scale: 4), ids = mirror.Host.Integers(0, 2, 1, vocabulary - 1);
            (Tensor chosen, Tensor topIds, Tensor topValues) = (mirror.Host.Empty(4, 2), mirror.Host.Empty(4, top, ElementType.I32), mirror.Host.Empty(4, top));
            (Tensor twin, Tensor twinIds, Tensor twinValues) = (mirror.Poisoned(4, 2), mirror.Up(topIds), mirror.Poisoned(4, top));
            mirror.Naive.LogProbabilities(chosen, topIds, topValues, logits, ids);
            mirror.Gpu.LogProbabilities(twin, twinIds, twinValues, mirror.Up(logits), mirror.Up(ids));
            mirror.Near(chosen, twin, 1e-5, "chosen");
            Bench.Same(topIds, mirror.Down(twinIds));
            mirror.Near(topValues, twinValues, 1e-5, "best");
        }
    }
}
