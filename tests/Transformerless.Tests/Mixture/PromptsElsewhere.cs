using XDeepServe.FlowServe;
using XDeepServe.Kernels;
using XDeepServe.Models;
using XDeepServe.Models.Loading;

namespace XDeepServe.Transformerless.Tests.Mixture;

using DistFlow = XDeepServe.FlowServe.DistFlow.DistFlow;
using KvTicket = XDeepServe.FlowServe.DistFlow.KvTicket;

/// <summary>An engine with the whole model that computes prompts and first tokens; other engines fetch keys and values from it.</summary>
internal sealed class PromptsElsewhere : IDisposable
{
    private readonly Checkpoint checkpoint;
    private readonly Backend backend = Served.Cpu();
    private readonly Model model;
    private readonly TeShell shell;
    private readonly IReadOnlyList<TeShell> decode;
    private readonly List<DistFlow> flows = [];
    private readonly string name = $"p_{Guid.NewGuid():N}"[..18];

    /// <summary>Comes before the decoding engines' first requests.</summary>
    public PromptsElsewhere(string folder, IReadOnlyList<TeShell> decode)
    {
        this.decode = decode;
        checkpoint = Checkpoint.Open(folder);
        model = Model.Load(checkpoint, backend, new ModelOptions(MaxModelLength: 512));
        shell = new TeShell(model, backend, null, Served.Options);
        flows.Add(new DistFlow(shell, name, (_, _, _) => Task.CompletedTask));
        flows.AddRange(decode.Select((engine, i) => new DistFlow(engine, $"{name}_{i}", (_, link, _) =>
        {
            flows[0].Serve(link);
            return Task.CompletedTask;
        })));
    }

    /// <summary>Keys and values that were fetched, in bytes.</summary>
    public long Fetched => flows.Skip(1).Sum(flow => flow.Metrics.ReceivedBytes);

    /// <summary>Gives prompts to decoding engines in turn, all at once.</summary>
    public Task<int[][]> Ask(int[][] prompts, int tokens) => Task.WhenAll(prompts.Select((prompt, i) => Ask(decode[i % decode.Count], prompt, tokens)));

    public void Dispose()
    {
        foreach (DistFlow flow in Enumerable.Reverse(flows))
            flow.Dispose();
        shell.Dispose();
        model.Dispose();
        backend.Dispose();
        checkpoint.Dispose();
    }

    private async Task<int[]> Ask(TeShell engine, int[] prompt, int tokens)
    {
        GenerationRequest request = new() { Id = "elsewhere", Prompt = prompt, Sampling = Served.Greedy(tokens) };
        First first = new();
        shell.Submit(request with { HandOverAfter = 1 }, first);
        (KvHold hold, int token) = await first.Begun.Task.WaitAsync(TimeSpan.FromSeconds(100), TestContext.Current.CancellationToken);
        return [token, .. await Served.Read(engine.Submit(request with { Produced = [token], Ticket = new KvTicket(name, hold.Group, hold.Number, hold.Positions) }))];
    }

    private sealed class First : IOutput
    {
        private int token;

        public TaskCompletionSource<(KvHold Hold, int Token)> Begun { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public bool Aborted => false;

        public void Start(int group, int cachedTokens, TokenLogprob?[]? promptLogprobs)
        {
            // Nobody asks.
        }

        public void Push(in OutputEvent item) => token = item.Token;

        public void HandOver(KvHold hold) => Begun.TrySetResult((hold, token));

        public void Fail(Exception failure) => Begun.TrySetException(failure);
    }
}
