namespace XDeepServe.FlowServe.Tests;

/// <summary>An output that keeps what it gets.</summary>
internal sealed class Gathered : IOutput
{
    public List<int> Tokens { get; } = [];

    public TaskCompletionSource<string> Ended { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public TaskCompletionSource<KvHold> HandedOver { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public bool Aborted { get; set; }

    public int Group { get; private set; } = -1;

    public void Start(int group, int cachedTokens, TokenLogprob?[]? promptLogprobs) => Group = group;

    public void Push(in OutputEvent item)
    {
        if (item.Token >= 0)
            Tokens.Add(item.Token);
        if (item.Finish is not null)
            Ended.TrySetResult(item.Finish);
    }

    public void Fail(Exception failure) => Ended.TrySetException(failure);

    public void HandOver(KvHold hold) => HandedOver.TrySetResult(hold);

    public Task<string> End => Ended.Task.WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);

    public Task<KvHold> Hold => HandedOver.Task.WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
}
