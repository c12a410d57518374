using System.Net;
using XDeepServe.FlowServe;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Server.Control.Frontend;
using XDeepServe.Transformerless;

namespace XDeepServe.Server.Tests.Control;

/// <summary>A service of many members answers as one engine does.</summary>
public sealed class ServiceTests
{
    private static CancellationToken Cancel => TestService.Cancel;

    [Theory]
    [InlineData("1")]
    [InlineData("2")]
    [InlineData("1P1D")]
    [InlineData("2P1D")]
    public async Task AnswersAsOneEngineDoes(string topology)
    {
        using TinyModel single = TinyModel.Create(TestService.Engine);
        // Members' caches may be cut differently.
        await using TestService service = await TestService.StartAsync(topology, engine: name => TestService.Engine with { BlockSize = name.StartsWith("decode", StringComparison.Ordinal) ? 4 : 16 });
        foreach (GenerationRequest request in Requests())
        {
            Answer expected = await ReadAsync(single.Shell.Submit(request)), actual = await ReadAsync(service.Front.Submit(request));
            Assert.Equal(expected.Text, actual.Text);
            Assert.Equal(expected.Tokens, actual.Tokens);
            Assert.Equal(expected.Finish, actual.Finish);
            Assert.Equal(expected.Logprobs, actual.Logprobs);
            Assert.Equal(expected.PromptLogprobs, actual.PromptLogprobs);
            Assert.Equal(expected.Values, actual.Values);
        }
        await service.IdleAsync();
        if (topology.Contains('P', StringComparison.Ordinal))
        {
            Assert.True(service.Members["decode-0"].Model.Shell.Metrics[0].GenerationTokens > 0);
            Assert.Contains("xds:kv_transfers_total{worker=\"decode-0\",role=\"decode\"}", await service.Front.MetricsAsync("vllm:", "tiny"), StringComparison.Ordinal);
            Assert.Equal(0, service.Members["decode-0"].Model.Shell.Metrics[0].PromptTokens); // keys and values were brought, not computed
        }
    }

    [Fact]
    public async Task AbortsAtEveryStageFreeEverything()
    {
        await using TestService service = await TestService.StartAsync("1P1D");
        Random random = new(3);
        await Task.WhenAll(Enumerable.Range(0, 150).Select(async number =>
        {
            int prompt = 1 + random.Next(120), reads = random.Next(8);
            using CancellationTokenSource soon = new();
            if (reads == 0)
            {
                soon.CancelAfter(random.Next(30));
            }
            Generation generation = service.Front.Submit(Request(number, prompt, new SamplingParameters { Temperature = 0, MaxTokens = 12, IgnoreEos = true, N = 1 + number % 2 }));
            try
            {
                await foreach (OutputDelta delta in generation.WithCancellation(soon.Token))
                {
                    Assert.NotEqual("error", delta.FinishReason);
                    if (reads > 0 && reads < 7 && --reads == 0)
                    {
                        break;
                    }
                }
            }
            catch (OperationCanceledException) when (soon.IsCancellationRequested)
            {
                // Left.
            }
        }));
        await service.IdleAsync();
    }

    [Theory]
    [InlineData("2P2D", "decode-0")]
    [InlineData("2P2D", "prefill-0")]
    [InlineData("2", "colocated-0")]
    public async Task RequestsOfALostMemberGoOnElsewhere(string topology, string victim)
    {
        using TinyModel single = TinyModel.Create(TestService.Engine);
        await using TestService service = await TestService.StartAsync(topology);
        GenerationRequest[] requests = [.. Enumerable.Range(0, 12).Select(number => Request(number, 40 + number, new SamplingParameters { Temperature = 1, Seed = number, MaxTokens = 150, IgnoreEos = true }))];
        Generation[] running = [.. requests.Select(service.Front.Submit)];
        Task<Answer>[] answers = [.. running.Select(ReadAsync)];
        await ServerHost.UntilAsync(() => Task.FromResult(service.Members.Values.Any(member => member.Model.Shell.Metrics[0].GenerationTokens > 50)), "the service generates");
        await service.Members[victim].DisposeAsync();
        service.Members.Remove(victim);
        for (int number = 0; number < requests.Length; number++)
        {
            Answer actual = await answers[number].WaitAsync(TimeSpan.FromMinutes(1), Cancel);
            Answer expected = await ReadAsync(single.Shell.Submit(requests[number]));
            Assert.Equal((expected.Finish[0], expected.Text[0]), (actual.Finish[0], actual.Text[0]));
            Assert.Equal(expected.Tokens, actual.Tokens);
        }
        await service.IdleAsync();
    }

    [Fact]
    public async Task WhatWasBeingPulledFromALostMemberIsComputed()
    {
        using TinyModel single = TinyModel.Create(TestService.Engine);
        await using TestService service = await TestService.StartAsync("2P1D");
        GenerationRequest[] requests = [.. Enumerable.Range(0, 60).Select(number => Request(number, 200 + number, new SamplingParameters { Seed = number, MaxTokens = 6, IgnoreEos = true }))];
        Task<Answer>[] answers = [.. requests.Select(request => ReadAsync(service.Front.Submit(request)))];
        EngineMetrics decode = service.Members["decode-0"].Model.Shell.Metrics[0];
        await Task.Run(() => Assert.True(SpinWait.SpinUntil(() => decode.Arriving > 0, TimeSpan.FromSeconds(30)), "Nothing is pulled."), Cancel);
        await service.Members["prefill-0"].DisposeAsync();
        service.Members.Remove("prefill-0");
        for (int number = 0; number < requests.Length; number++)
        {
            Answer actual = await answers[number].WaitAsync(TimeSpan.FromMinutes(1), Cancel);
            Assert.Equal((await ReadAsync(single.Shell.Submit(requests[number]))).Tokens, actual.Tokens);
        }
        await service.IdleAsync();
    }

    [Theory]
    [InlineData("1", WorkerRole.Colocated)]
    [InlineData("1P1D", WorkerRole.Decode)]
    public async Task WhatHasNotBegunIsSharedWithAMemberThatComes(string topology, WorkerRole role)
    {
        EngineOptions narrow = TestService.Engine with { MaxSequences = 1 };
        using TinyModel single = TinyModel.Create(TestService.Engine);
        await using TestService service = await TestService.StartAsync(topology, engine: name => name.StartsWith("prefill", StringComparison.Ordinal) ? TestService.Engine : narrow);
        TeShell old = service.Members[Topology.NameOf(role, 0)].Model.Shell;
        GenerationRequest[] requests = [.. Enumerable.Range(0, 30).Select(number => Request(number, 30 + number, new SamplingParameters { Seed = number, MaxTokens = 250, IgnoreEos = true }))];
        Task<Answer>[] answers = [.. requests.Select(request => ReadAsync(service.Front.Submit(request)))];
        await ServerHost.UntilAsync(() => Task.FromResult(old.Unfinished + answers.Count(answer => answer.IsCompleted) == requests.Length), "all wait at one member");
        // Every request has been given away: what the next one gets was withdrawn.
        await service.AddAsync(new WorkerSpec { Name = Topology.NameOf(role, 1), Role = role }, null, narrow);
        for (int number = 0; number < requests.Length; number++)
        {
            Answer actual = await answers[number].WaitAsync(TimeSpan.FromMinutes(1), Cancel);
            Assert.Equal((await ReadAsync(single.Shell.Submit(requests[number]))).Tokens, actual.Tokens);
        }
        EngineMetrics added = service.Members[Topology.NameOf(role, 1)].Model.Shell.Metrics[0];
        Assert.InRange(added.GenerationTokens, 1, 15 * 250); // no more than its share
        Assert.Equal(role == WorkerRole.Decode, added.PromptTokens == 0); // what was held for a withdrawn request was still there
        Assert.Equal(0, service.Front.Retries);
        await service.IdleAsync();
    }

    [Fact]
    public async Task RequestsOfAMemberWhoseLoopHangsGoOnElsewhere()
    {
        using TinyModel single = TinyModel.Create(TestService.Engine);
        await using TestService service = await TestService.StartAsync("2", options => options with { HeartbeatInterval = TimeSpan.FromMilliseconds(50), HangPatience = TimeSpan.FromSeconds(4) });
        TestService.Member victim = service.Members["colocated-0"];
        GenerationRequest[] requests = [.. Enumerable.Range(0, 8).Select(number => Request(number, 30 + number, new SamplingParameters { Seed = number, MaxTokens = 300, IgnoreEos = true }))];
        Task<Answer>[] answers = [.. requests.Select(request => ReadAsync(service.Front.Submit(request)))];
        await ServerHost.UntilAsync(() => Task.FromResult(victim.Model.Shell.Metrics[0].GenerationTokens > 20), "the victim generates");
        using Hanging hanging = new();
        victim.Model.Shell.Submit(Request(99, 3, new SamplingParameters { MaxTokens = 2 }), hanging);
        Assert.Contains("did not turn", await victim.Over.WaitAsync(TimeSpan.FromSeconds(30), Cancel), StringComparison.Ordinal);
        for (int number = 0; number < requests.Length; number++)
        {
            Answer actual = await answers[number].WaitAsync(TimeSpan.FromMinutes(1), Cancel);
            Assert.Equal((await ReadAsync(single.Shell.Submit(requests[number]))).Tokens, actual.Tokens);
        }
        await ServerHost.UntilAsync(() => Task.FromResult(service.FrontNode.Executors.SequenceEqual(["colocated-1"])), "the front end knows");
        hanging.GoOn();
    }

    [Fact]
    public async Task WithoutMembersRequestsEndWithAnErrorInTime()
    {
        await using TestService service = await TestService.StartAsync("1", options => options with { PlacementPatience = TimeSpan.FromMilliseconds(300) });
        await service.Members["colocated-0"].DisposeAsync();
        service.Members.Clear();
        Generation generation = service.Front.Submit(Request(0, 5, new SamplingParameters { MaxTokens = 3 }));
        Answer answer = await ReadAsync(generation);
        Assert.Equal("error", answer.Finish[0]);
        Assert.Contains("within 0 s", Assert.IsType<UnavailableException>(generation.Failure).Message, StringComparison.Ordinal);
        Assert.Equal(0, service.Front.Unfinished);
    }

    [Theory]
    [InlineData(true, "Nothing is left.")]
    [InlineData(false, "IOException: Nothing is left.")]
    public async Task StepsThatFailSayWhetherALaterOneMayNot(bool later, string said)
    {
        using FailingDomain domain = new(later ? new UnavailableException("Nothing is left.") : new IOException("Nothing is left."));
        await using TestService service = await TestService.StartAsync("1");
        await service.Members["colocated-0"].DisposeAsync();
        service.Members.Clear();
        await service.AddAsync(new WorkerSpec { Name = "colocated-1", Role = WorkerRole.Colocated }, null, TestService.Engine, domain);
        await ServerHost.UntilAsync(() => Task.FromResult(service.FrontNode.Executors.SequenceEqual(["colocated-1"])), "the front end knows");
        Generation generation = service.Front.Submit(Request(0, 5, new SamplingParameters { MaxTokens = 3 }));
        Assert.Equal("error", (await ReadAsync(generation)).Finish[0]);
        Assert.Equal((later, said), (generation.Failure is UnavailableException, generation.Failure!.Message));
    }

    [Fact]
    public async Task RefusesWhatCannotBeServedAndWhatIsTooMuch()
    {
        await using TestService service = await TestService.StartAsync("1");
        ClusterEngine narrow = await service.AddFrontAsync(engine: TestService.Engine with { QueueLimit = 1, MaxSequences = 1, MaxBatchedTokens = 1 });
        await narrow.ReadyAsync(1, Cancel);
        Assert.Equal("prompt", Assert.Throws<InvalidRequestException>(() => narrow.Submit(Request(0, 5, new SamplingParameters()) with { Prompt = [99999] })).Param);
        using Generation first = narrow.Submit(Request(1, 5, new SamplingParameters { MaxTokens = 400, IgnoreEos = true }));
        using Generation second = narrow.Submit(Request(2, 5, new SamplingParameters { MaxTokens = 400, IgnoreEos = true }));
        Assert.Throws<QueueFullException>(() => narrow.Submit(Request(3, 5, new SamplingParameters { MaxTokens = 4 })));
        Assert.Equal(1, narrow.Rejections);
        Assert.Equal("length", (await ReadAsync(service.Front.Submit(Request(4, 5, new SamplingParameters { MaxTokens = 4, IgnoreEos = true })))).Finish[0]);
    }

    [Fact]
    public async Task WhoReadsLateGetsThePromptsLogProbabilitiesOfSeveralChoices()
    {
        await using TestService service = await TestService.StartAsync("1");
        GenerationRequest request = Request(1, 130, new SamplingParameters { Seed = 11, MaxTokens = 4, N = 3, PromptLogprobs = 1, IgnoreEos = true });
        Generation generation = service.Front.Submit(request);
        await ServerHost.UntilAsync(() => Task.FromResult(service.Front.Unfinished == 0), "all choices have ended");
        Answer answer = await ReadAsync(generation);
        Assert.Equal(130, answer.PromptLogprobs.Count);
        Assert.Equal(0, answer.CachedTokens); // of the prompt, which was computed once
    }

    [Fact]
    public async Task WhatAMemberOfNarrowerLimitsRefusesIsTheClientsMistake()
    {
        await using TestService service = await TestService.StartAsync("1", engine: _ => TestService.Engine with { MaxModelLength = 128 });
        XdsServer server = XdsServer.Build(ServerHost.Options);
        await server.StartAsync(Cancel);
        try
        {
            server.Attach(new ServedModel { Engine = service.Front, MaxModelLength = 512, VocabularySize = TinyModel.Vocabulary });
            using HttpClient client = new() { BaseAddress = server.Url };
            using StringContent body = new("""{"prompt":[1,2,3,4,5],"max_tokens":200}""", null, "application/json");
            using HttpResponseMessage response = await client.PostAsync(new Uri("/v1/completions", UriKind.Relative), body, Cancel);
            string text = await response.Content.ReadAsStringAsync(Cancel);
            Assert.Contains("\"param\":\"max_tokens\"", text, StringComparison.Ordinal);
            Assert.Contains("the longest context is 128", text, StringComparison.Ordinal);
            Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        }
        finally
        {
            await server.StopAsync(new CancellationToken(true));
            await server.DisposeAsync();
        }
    }

    [Fact]
    public async Task AMemberThatJoinsLaterServes()
    {
        await using TestService service = await TestService.StartAsync("1");
        await service.AddAsync(new WorkerSpec { Name = "colocated-1", Role = WorkerRole.Colocated }, null, TestService.Engine);
        await service.Front.ReadyAsync(2, Cancel);
        await Task.WhenAll(Enumerable.Range(0, 8).Select(number => ReadAsync(service.Front.Submit(Request(number, 20, new SamplingParameters { MaxTokens = 20, IgnoreEos = true })))));
        Assert.All(service.Members.Values, member => Assert.True(member.Model.Shell.Metrics[0].GenerationTokens > 0));
        Assert.Equal(["colocated-0", "colocated-1"], service.FrontNode.Executors);
    }

    [Fact]
    public async Task FrontEndsLearnWhatCachesHoldAndWhatPrefillCosts()
    {
        await using TestService service = await TestService.StartAsync("3");
        int[] shared = Request(1, 320, new SamplingParameters()).Prompt;
        await ReadAsync(service.Front.Submit(Ask(0)));
        TestService.Member holder = Assert.Single(service.Members.Values, member => member.Model.Shell.PrefixChanges > 0);
        // Another front end knows only what it is told.
        ClusterEngine other = await service.AddFrontAsync();
        ulong[] chain = PrefixChain.Of(Ask(1));
        await ServerHost.UntilAsync(() => Task.FromResult(other.View.Executors.Any(seen => seen.Prefixes.Held(chain) == 320)), "the front end knows what the cache holds");
        for (int i = 1; i < 8; i++)
        {
            await ReadAsync(other.Submit(Ask(i)));
        }
        Assert.Equal(7 * 320, holder.Model.Shell.Metrics[0].PrefixHits);
        await ServerHost.UntilAsync(() => Task.FromResult(other.View.Executors.Any(seen => seen.Report.Cost != PrefillCostModel.Prior)), "the front end knows what prefill costs");

        GenerationRequest Ask(int number) => Request(number, 1, new SamplingParameters { MaxTokens = 2, IgnoreEos = true }) with { Prompt = [.. shared, number, 1, 2] };
    }

    [Fact]
    public async Task MetricsTellOfEveryMember()
    {
        await using TestService service = await TestService.StartAsync("1P1D");
        XdsServer server = XdsServer.Build(ServerHost.Options);
        await server.StartAsync(Cancel);
        try
        {
            server.Attach(new ServedModel { Engine = service.Front, MaxModelLength = 512, VocabularySize = TinyModel.Vocabulary });
            using HttpClient client = new() { BaseAddress = server.Url };
            using StringContent body = new("""{"prompt":[1,2,3,4,5],"max_tokens":4,"ignore_eos":true,"detokenize":false}""", null, "application/json");
            using HttpResponseMessage response = await client.PostAsync(new Uri("/v1/completions", UriKind.Relative), body, Cancel);
            Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync(Cancel));
            string text = await client.GetStringAsync(new Uri("/metrics", UriKind.Relative), Cancel);
            foreach (string role in (string[])["prefill", "decode", "frontend"])
            {
                Assert.Contains($"xds:worker_info{{role=\"{role}\",pid=\"{Environment.ProcessId}\"", text, StringComparison.Ordinal);
            }
            Assert.Contains("vllm:generation_tokens_total{engine=\"0\",model_name=\"tiny\",worker=\"prefill-0\",role=\"prefill\"} 1\n", text, StringComparison.Ordinal);
            Assert.Contains("vllm:generation_tokens_total{engine=\"0\",model_name=\"tiny\",worker=\"decode-0\",role=\"decode\"} 3\n", text, StringComparison.Ordinal);
            string[] heads = [.. text.Split('\n').Where(line => line.StartsWith("# TYPE", StringComparison.Ordinal))];
            Assert.Equal(heads.Distinct(), heads);
        }
        finally
        {
            await server.StopAsync(new CancellationToken(true));
            await server.DisposeAsync();
        }
    }

    private static IEnumerable<GenerationRequest> Requests()
    {
        yield return Request(0, 37, new SamplingParameters { Temperature = 0, MaxTokens = 20, IgnoreEos = true });
        yield return Request(1, 130, new SamplingParameters { Seed = 11, MaxTokens = 24, N = 3, Logprobs = 2, PromptLogprobs = 1, RepetitionPenalty = 1.1, PresencePenalty = 0.3 });
        yield return Request(2, 1, new SamplingParameters { Seed = 5, MaxTokens = 40, Stop = ["e", "\u0007"], MinTokens = 3 });
        yield return Request(3, 64, new SamplingParameters { Temperature = 0, MaxTokens = 1 });
        yield return Request(4, 50, new SamplingParameters { Temperature = 0, MaxTokens = 1 }) with { Readout = Readout.Labels([1, 2, 3]) };
        yield return Request(5, 50, new SamplingParameters { Temperature = 0, MaxTokens = 1 }) with { Readout = Readout.MeanHidden };
        yield return Request(6, 200, new SamplingParameters { Seed = 1, MaxTokens = 30, IgnoreEos = true, LogitBias = [(7, 5)] }) with { CacheSalt = "salt", Priority = 2 };
    }

    private static GenerationRequest Request(int number, int length, SamplingParameters sampling)
    {
        Random random = new(number);
        return new GenerationRequest { Id = $"request-{number}", Prompt = [.. Enumerable.Range(0, length).Select(_ => random.Next(256))], Sampling = sampling };
    }

    private static async Task<Answer> ReadAsync(Generation generation)
    {
        Answer answer = new(generation.Request.Sampling.N);
        await foreach (OutputDelta delta in generation.WithCancellation(Cancel))
        {
            answer.Add(delta);
        }
        return answer;
    }

    /// <summary>Keeps the thread that puts something out until it may go on.</summary>
    private sealed class Hanging : IOutput, IDisposable
    {
        private readonly ManualResetEventSlim _gate = new();

        public bool Aborted => false;

        public void Start(int group, int cachedTokens, TokenLogprob?[]? promptLogprobs) => _gate.Wait(TimeSpan.FromMinutes(1));

        public void Push(in OutputEvent item)
        {
        }

        public void Fail(Exception failure)
        {
        }

        public void HandOver(KvHold hold)
        {
        }

        public void GoOn() => _gate.Set();

        public void Dispose() => _gate.Dispose();
    }

    private sealed class Answer(int choices)
    {
        public string[] Text { get; } = [.. Enumerable.Repeat("", choices)];

        public string?[] Finish { get; } = new string?[choices];

        public List<(int Choice, int Token)> Tokens { get; private set; } = [];

        public List<(int Choice, int Token, float Logprob, int Rank)> Logprobs { get; private set; } = [];

        public List<float?> PromptLogprobs { get; } = [];

        public List<float> Values { get; } = [];

        public int CachedTokens { get; private set; }

        public void Add(OutputDelta delta)
        {
            CachedTokens = Math.Max(CachedTokens, delta.CachedTokens);
            Text[delta.Choice] += delta.Text;
            Finish[delta.Choice] ??= delta.FinishReason;
            Tokens = [.. Tokens.Concat(delta.TokenIds.Select(token => (delta.Choice, token))).OrderBy(pair => pair.Choice)];
            Logprobs = [.. Logprobs.Concat((delta.Logprobs ?? []).Select(entry => (delta.Choice, entry.Id, entry.Logprob, entry.Rank))).OrderBy(entry => entry.Choice)];
            PromptLogprobs.AddRange((delta.PromptLogprobs ?? []).Select(entry => entry?.Logprob));
            Values.AddRange(delta.Values ?? []);
        }
    }
}
