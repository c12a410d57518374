using XDeepServe.FlowServe;

namespace XDeepServe.Server.Tests.Control;

/// <summary>Whoever serves, with whatever blocks, and however often a request has to begin anew: the tokens are those of one engine.</summary>
public sealed class EquivalenceTests
{
    private const string Quantized = "models/nano-moe"; // with latent attention, whose form follows the size of chunks
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
        GenerationRequest[] requests = Requests(one.Config.VocabularySize);
        int[][] expected = await Task.WhenAll(requests.Select(request => ReadAsync(one.Shell.Submit(request))));
        // Chunks of other sizes, blocks of other sizes, and a cache so small that sequences lose their blocks.
        await using TestService service = await TestService.StartAsync(topology, engine: Narrow, folder: folder);
        for (int round = 0; round < 2; round++)
        {
            // The second time what is left of the first is found.
            int[][] actual = await Task.WhenAll(requests.Select(request => ReadAsync(service.Front.Submit(request))));
            for (int number = 0; number < requests.Length; number++)
            {
                int place = expected[number].AsSpan().CommonPrefixLength(actual[number]);
                if (folder == Quantized && place < expected[number].Length && await IsBorderAsync(one.Shell, requests[number], expected[number], place, actual[number][place]))
                {
                    continue; // what follows another token is another answer
                }
                Assert.Equal(expected[number], actual[number]);
            }
        }
        EngineMetrics[] all = [.. service.Members.Values.SelectMany(member => member.Model.Shell.Metrics)];
        Assert.True(all.Sum(group => group.PrefixHits) > 0);
        Assert.True(topology == "2P2D" || all.Sum(group => group.Preemptions) > 0, "No sequence lost its blocks; the test is too easy.");
        await service.IdleAsync();
    }

    /// <summary>
    /// Whether a draw fell so near to the border between two tokens that rounding decides. A draw walks the tokens in order of id: logits that
    /// differ by a little give neighbours. The two forms of latent attention differ in rounding, and products with quantized weights, which
    /// round their input, make more of it.
    /// </summary>
    private static async Task<bool> IsBorderAsync(TeShell engine, GenerationRequest request, int[] expected, int place, int actual)
    {
        int[] drawn = await Task.WhenAll(((double[])[0.997, 1.003]).Select(async factor =>
        {
            SamplingParameters sampling = request.Sampling with { Temperature = request.Sampling.Temperature * factor, MaxTokens = place + 1 };
            return (await ReadAsync(engine.Submit(request with { Id = $"border-{factor}", Produced = expected[..place], Sampling = sampling }))).Single();
        }));
        return request.Sampling.Temperature > 0 && drawn.Min() <= actual && actual <= drawn.Max();
    }

    private static EngineOptions Narrow(string worker)
    {
        int blockSize = worker switch { "prefill-1" => 4, "decode-0" => 8, "decode-1" => 32, _ => 16 };
        return s_ample with { MaxBatchedTokens = worker.EndsWith('0') ? 24 : 40, BlockSize = blockSize, NumBlocksOverride = 384 / blockSize };
    }

    private static GenerationRequest[] Requests(int vocabulary)
    {
        Random random = new(4);
        int[] shared = Ids(70);
        return [.. Enumerable.Range(0, 12).Select(number => new GenerationRequest
        {
            Id = $"request-{number}",
            Prompt = number % 3 == 0 ? [.. shared, .. Ids(1 + number)] : Ids(3 + 9 * number),
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
