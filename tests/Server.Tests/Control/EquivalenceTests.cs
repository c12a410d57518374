using XDeepServe.FlowServe;

namespace XDeepServe.Server.Tests.Control;

/// <summary>Whoever serves, with whatever blocks, and however often a request has to begin anew: the tokens are those of one engine.</summary>
public sealed class EquivalenceTests
{
    private const string Quantized = "models/nano-moe"; // its products round their input: a difference of one bit becomes a large one
    private static readonly EngineOptions s_ample = new() { MaxModelLength = 256, MaxSequences = 8, MaxBatchedTokens = 64, NumBlocksOverride = 256, QueueLimit = 512 };

    public static TheoryData<string, string> Cases()
    {
        TheoryData<string, string> cases = [];
        foreach (string folder in (string[])[Quantized, "tests/golden/deepseek_v3", "tests/golden/qwen3", "tests/golden/mixtral"])
        {
            foreach (string topology in (string[])["1", "2xDP", "1P1D", "2P2D", "2P1D"])
            {
                cases.Add(folder, topology);
            }
        }
        return cases;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task TokensAreThoseOfOneEngine(string folder, string topology)
    {
        using TinyModel one = TinyModel.Open(folder, s_ample);
        GenerationRequest[] requests = Requests(one.Config.VocabularySize, 12);
        int[][] expected = await Task.WhenAll(requests.Select(request => ReadAsync(one.Shell.Submit(request))));
        // Chunks of other sizes, blocks of other sizes, and a cache so small that sequences lose their blocks.
        await using TestService service = await TestService.StartAsync(topology, engine: Narrow, folder: folder);
        for (int round = 0; round < 2; round++)
        {
            // The second time what is left of the first is found.
            int[][] actual = await Task.WhenAll(requests.Select(request => ReadAsync(service.Front.Submit(request))));
            for (int number = 0; number < requests.Length; number++)
            {
                Assert.Equal(expected[number], actual[number]);
            }
        }
        EngineMetrics[] all = [.. service.Members.Values.SelectMany(member => member.Model.Shell.Metrics)];
        Assert.True(all.Sum(group => group.PrefixHits) > 0);
        Assert.True(topology == "2P2D" || all.Sum(group => group.Preemptions) > 0, "No sequence lost its blocks; the test is too easy.");
        await service.IdleAsync();
    }

    [Fact]
    public async Task DrawnTokensDoNotDependOnChunksAndBatches()
    {
        GenerationRequest[] requests = [.. Requests(8192, 48).Where(request => request.Sampling.Temperature > 0)];
        int[][]? expected = null;
        // In one piece and alone; in pieces beside others; in small pieces, and so little cache that sequences begin anew.
        foreach (EngineOptions options in (EngineOptions[])[
            s_ample with { MaxBatchedTokens = 512, MaxSequences = 1 }, s_ample with { MaxSequences = 5 }, s_ample with { MaxBatchedTokens = 24, NumBlocksOverride = 24 }])
        {
            using TinyModel model = TinyModel.Open(Quantized, options);
            int[][] actual = await Task.WhenAll(requests.Select(request => ReadAsync(model.Shell.Submit(request))));
            expected ??= actual;
            for (int number = 0; number < requests.Length; number++)
            {
                Assert.Equal(expected[number], actual[number]);
            }
            Assert.True(options.NumBlocksOverride > 24 || model.Shell.Metrics.Sum(group => group.Preemptions) > 0, "No sequence lost its blocks; the test is too easy.");
        }
    }

    private static EngineOptions Narrow(string worker)
    {
        int blockSize = worker switch { "prefill-1" => 4, "decode-0" => 8, "decode-1" => 32, _ => 16 };
        return s_ample with { MaxBatchedTokens = worker.EndsWith('0') ? 24 : 40, BlockSize = blockSize, NumBlocksOverride = 384 / blockSize };
    }

    private static GenerationRequest[] Requests(int vocabulary, int count)
    {
        Random random = new(4);
        int[] shared = Ids(70);
        return [.. Enumerable.Range(0, count).Select(number => new GenerationRequest
        {
            Id = $"request-{number}",
            Prompt = number % 3 == 0 ? [.. shared, .. Ids(1 + number % 12)] : Ids(3 + 9 * number % 108),
            Sampling = number % 2 == 0
                ? new SamplingParameters { Temperature = 0, MaxTokens = 40, IgnoreEos = true, Detokenize = false }
                : new SamplingParameters { Temperature = 0.9, TopP = 0.95, Seed = number, MaxTokens = 40, IgnoreEos = true, Detokenize = false },
        })];

        int[] Ids(int count) => [.. Enumerable.Range(0, count).Select(_ => random.Next(vocabulary))];
    }

    private static async Task<int[]> ReadAsync(Generation generation)
    {
        List<int> tokens = [];
        await foreach (OutputDelta delta in generation.WithCancellation(TestService.Cancel))
        {
            tokens.AddRange(delta.TokenIds);
        }
        return [.. tokens];
    }
}
