using System.Globalization;
using XDeepServe.FlowServe.DistFlow;

namespace XDeepServe.FlowServe.Tests.DistFlow;

using DistFlow = XDeepServe.FlowServe.DistFlow.DistFlow;

/// <summary>
/// A Task Executor in a process of its own, told what to do line by line. It ends when its input does, that is with its parent,
/// or when it is killed.
/// </summary>
internal static class ChildExecutor
{
    public static EngineOptions Options { get; } = TestEngine.Options() with { HoldLease = TimeSpan.FromSeconds(2), NumBlocksOverride = 512, PrefixCaching = false };

    public static LinkOptions Links { get; } = new() { ChunkBytes = 1024, Patience = TimeSpan.FromSeconds(20) };

    public static int Run(string name)
    {
        using TestEngine engine = new(options: Options);
        using DistFlow flow = new(engine.Shell, name, Invite, Links);
        Say("ready");
        while (Console.ReadLine() is { } line)
        {
            string[] words = line.Split(' ');
            int[] numbers = [.. words.Select(word => int.TryParse(word, CultureInfo.InvariantCulture, out int number) ? number : 0)];
            if (words[0] == "serve")
                flow.Serve(words[1]);
            else if (words[0] == "prefill") // length, seed
                Prefill(engine, numbers[1], numbers[2]);
            else // decode owner group number positions seed first
                engine.Shell.Submit(Request(engine, numbers[4], numbers[5]) with { Produced = [numbers[6]], Ticket = new KvTicket(words[1], numbers[2], numbers[3], numbers[4]) }, new Gathered());
        }
        return 0;
    }

    public static GenerationRequest Request(TestEngine engine, int length, int seed) =>
        new() { Id = "killed", Prompt = engine.Prompt(length, seed), Sampling = TestEngine.Greedy(6) };

    private static async void Prefill(TestEngine engine, int length, int seed)
    {
        Gathered begun = new();
        engine.Shell.Submit(Request(engine, length, seed) with { HandOverAfter = 1 }, begun);
        KvHold hold = await begun.HandedOver.Task;
        Say(string.Create(CultureInfo.InvariantCulture, $"ticket {hold.Group} {hold.Number} {hold.Positions} {seed} {begun.Tokens[0]}"));
    }

    private static Task Invite(string owner, string link, CancellationToken cancel)
    {
        Say($"link {link}");
        return Task.CompletedTask;
    }

    private static void Say(string line)
    {
        lock (Console.Out)
            Console.Out.WriteLine(line);
    }
}
