using XDeepServe.FlowServe;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Server.Control.Messages;
using XDeepServe.Transformerless;

namespace XDeepServe.Server.Tests.Control;

/// <summary>The number of workers follows the load, and nobody who asks notices.</summary>
public sealed class ScaleTests
{
    private static readonly AutoscaleSettings s_quick = new()
    {
        Most = 2,
        QueueTimeOut = TimeSpan.FromMilliseconds(20),
        QueueTimeIn = TimeSpan.FromMilliseconds(10),
        PatienceOut = TimeSpan.FromMilliseconds(60),
        PatienceIn = TimeSpan.FromMilliseconds(200),
        CoolDown = TimeSpan.FromMilliseconds(50),
    };

    [Theory]
    [InlineData("1", WorkerRole.Colocated)]
    [InlineData("1P1D", WorkerRole.Decode)]
    public async Task ALoadAddsAWorkerAndRestTakesItAwayAndNothingIsDropped(string topology, WorkerRole role)
    {
        EngineOptions narrow = TestService.Engine with { MaxSequences = 2, NumBlocksOverride = 80 };
        await using TestService service = await TestService.StartAsync(topology, options => options with { HeartbeatInterval = TimeSpan.FromMilliseconds(20) }, _ => narrow);
        string first = Topology.NameOf(role, 0), second = Topology.NameOf(role, 1);
        bool enough = false;
        Task<string?[]>[] clients = [.. Enumerable.Range(0, 16).Select(client => LoadAsync(service, client, () => Volatile.Read(ref enough)))];
        Assert.Equal(ScaleDecision.Out, (await DecideAsync(service, role, 1)).Decision);
        await service.AddAsync(new WorkerSpec { Name = second, Role = role }, options => options with { HeartbeatInterval = TimeSpan.FromMilliseconds(20) }, narrow);
        await ServerHost.UntilAsync(() => Task.FromResult(service.Members[second].Model.Shell.Metrics[0].GenerationTokens > 100), "the new worker works");
        Volatile.Write(ref enough, true);
        Assert.All((await Task.WhenAll(clients)).SelectMany(finish => finish), finish => Assert.Equal("length", finish));

        // At rest one of them is to go; it is asked to while it works, so that it has something to bring to an end.
        ScaleAnswer answer = await DecideAsync(service, role, 2);
        Assert.Equal(ScaleDecision.In, answer.Decision);
        TestService.Member leaving = service.Members[Assert.IsType<string>(answer.Worker)];
        Task<string?>[] answers = [.. Enumerable.Range(0, 40).Select(number => AnswerAsync(service, 100 + number, 40))];
        await ServerHost.UntilAsync(() => Task.FromResult(leaving.Model.Shell.Unfinished > 0), "it works");
        await service.FrontNode.RetireAsync(answer.Worker!);
        Assert.Null(await leaving.Over.WaitAsync(TimeSpan.FromSeconds(30), TestService.Cancel));
        await leaving.Node.DrainAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(0, leaving.Model.Shell.Unfinished);
        await leaving.DisposeAsync();
        service.Members.Remove(answer.Worker!);
        Assert.All(await Task.WhenAll(answers), finish => Assert.Equal("length", finish));
        Assert.Equal(0, service.Front.Retries); // what it had it brought to an end itself
        Assert.Equal("length", await AnswerAsync(service, 200, 5));
        Assert.Contains(service.FrontNode.Executors, name => name == (answer.Worker == first ? second : first));
        await service.IdleAsync();
    }

    private static async Task<ScaleAnswer> DecideAsync(TestService service, WorkerRole role, int workers)
    {
        ScaleAnswer answer = new(ScaleDecision.Hold, null);
        await ServerHost.UntilAsync(
            async () => (answer = await service.FrontNode.ScaleAsync(role, s_quick, workers)).Decision != ScaleDecision.Hold,
            "the cluster decides");
        return answer;
    }

    private static async Task<string?[]> LoadAsync(TestService service, int client, Func<bool> enough)
    {
        List<string?> finished = [];
        for (int i = 0; !enough(); i++)
        {
            finished.Add(await AnswerAsync(service, 1000 * client + i, 60));
        }
        return [.. finished];
    }

    private static async Task<string?> AnswerAsync(TestService service, int number, int tokens)
    {
        Random random = new(number);
        string? finish = null;
        GenerationRequest request = new()
        {
            Id = $"request-{number}",
            Prompt = [.. Enumerable.Range(0, 10 + number % 60).Select(_ => random.Next(256))],
            Sampling = new SamplingParameters { Temperature = 0, MaxTokens = tokens, IgnoreEos = true },
        };
        int seen = 0;
        await foreach (OutputDelta delta in service.Front.Submit(request).WithCancellation(TestService.Cancel))
        {
            seen += delta.TokenIds.Count;
            finish ??= delta.FinishReason;
        }
        Assert.Equal(tokens, seen);
        return finish;
    }
}
