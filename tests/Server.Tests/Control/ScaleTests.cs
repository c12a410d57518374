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
        DesiredWorkers desired = new(0, new Dictionary<WorkerRole, int> { [role] = 1 });
        await service.FrontNode.LaunchAsync(desired, TestService.Cancel);
        desired = await DecideAsync(service, role, desired, 2);
        await service.AddAsync(new WorkerSpec { Name = second, Role = role }, options => options with { HeartbeatInterval = TimeSpan.FromMilliseconds(20) }, narrow);
        await ServerHost.UntilAsync(() => Task.FromResult(service.Members[second].Model.Shell.Metrics[0].GenerationTokens > 100), "the new worker works");
        Volatile.Write(ref enough, true);
        Assert.All((await Task.WhenAll(clients)).SelectMany(finish => finish), finish => Assert.Equal("length", finish));

        // At rest one of them is to go; it is asked to while it works, so that it has something to bring to an end.
        await DecideAsync(service, role, desired, 1);
        string last = Assert.IsType<string>(await service.FrontNode.LeastAsync([first, second, "unknown"]));
        Assert.Null(await service.FrontNode.LeastAsync(["unknown"]));
        TestService.Member leaving = service.Members[last];
        Task<string?>[] answers = [.. Enumerable.Range(0, 40).Select(number => AnswerAsync(service, 100 + number, 40))];
        await ServerHost.UntilAsync(() => Task.FromResult(leaving.Model.Shell.Unfinished > 0), "it works");
        await service.FrontNode.RetireAsync(last);
        Assert.Null(await leaving.Over.WaitAsync(TimeSpan.FromSeconds(30), TestService.Cancel));
        await leaving.Node.DrainAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(0, leaving.Model.Shell.Unfinished);
        await leaving.DisposeAsync();
        service.Members.Remove(last);
        Assert.All(await Task.WhenAll(answers), finish => Assert.Equal("length", finish));
        Assert.Equal(0, service.Front.Retries); // what it had it brought to an end itself
        Assert.Equal("length", await AnswerAsync(service, 200, 5));
        Assert.Contains(service.FrontNode.Executors, name => name == (last == first ? second : first));
        await service.IdleAsync();
    }

    [Fact]
    public async Task WhatIsDesiredIsTheLaunchersToDoAndEveryonesToChange()
    {
        await using TestService service = await TestService.StartAsync("1", options => options with { HeartbeatPatience = TimeSpan.FromSeconds(5) });
        Assert.Null(await service.Front.DesiredAsync()); // nobody launches
        Assert.Null(await service.Front.WantAsync(WorkerRole.Colocated, 2));
        DesiredWorkers desired = new(0, new Dictionary<WorkerRole, int> { [WorkerRole.Colocated] = 1 });
        await service.FrontNode.LaunchAsync(desired, TestService.Cancel);
        Assert.Equal(2, (await service.Front.WantAsync(WorkerRole.Colocated, 2))!.Roles[WorkerRole.Colocated]);
        Assert.DoesNotContain(WorkerRole.Decode, (await service.Front.WantAsync(WorkerRole.Decode, 2))!.Roles.Keys);
        desired = await service.FrontNode.MeetAsync(desired);
        Assert.Equal((1, 2), (desired.Version, desired.Roles[WorkerRole.Colocated]));

        // A second launcher is told so, for as long as the first one says that it is there; then it takes over with what it brings.
        Task other = service.Members["colocated-0"].Node.LaunchAsync(new DesiredWorkers(0, new Dictionary<WorkerRole, int> { [WorkerRole.Colocated] = 3 }), TestService.Cancel);
        for (int i = 0; i < 10; i++)
        {
            await Task.Delay(20, TestService.Cancel);
            desired = await service.FrontNode.MeetAsync(desired);
            Assert.False(other.IsCompleted);
        }
        await other;
        Assert.Equal(3, (await service.Front.DesiredAsync())!.Roles[WorkerRole.Colocated]);
        await Assert.ThrowsAsync<IOException>(async () =>
        {
            Task first = service.FrontNode.LaunchAsync(desired, TestService.Cancel);
            while (!first.IsCompleted)
            {
                await service.Members["colocated-0"].Node.MeetAsync(desired);
                await Task.Delay(20, TestService.Cancel);
            }
            await first;
        });
    }

    /// <summary>Has the cluster look again and again until it decides that there are to be so many.</summary>
    private static async Task<DesiredWorkers> DecideAsync(TestService service, WorkerRole role, DesiredWorkers desired, int expected)
    {
        int before = desired.Roles[role];
        await ServerHost.UntilAsync(
            async () =>
            {
                await service.FrontNode.ScaleAsync(role, s_quick, before);
                desired = await service.FrontNode.MeetAsync(desired);
                return desired.Roles[role] == expected;
            },
            "the cluster decides");
        return desired;
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
