using System.Globalization;
using System.IO.Hashing;
using System.Text;

namespace XDeepServe.FlowServe.DistFlow;

/// <summary>
/// Moves keys and values between Task Executors (paper §5.1, DeepServe §4.4): each pair has a link of its own, a failure domain,
/// made when it is first needed. Registration carries metadata alone; the side that decodes pulls when it has room.
/// </summary>
public sealed class DistFlow : IDisposable
{
    private readonly string self;
    private readonly IReadOnlyList<DpGroup> groups;
    private readonly LinkOptions options;
    private readonly Func<string, string, CancellationToken, Task> invite;
    private readonly Lock gate = new();
    private readonly Dictionary<string, KvFetcher> fetchers = [];
    private readonly List<KvServer> servers = [];
    private int links;
    private bool disposed;

    /// <summary>Connects an engine with others; before its first request.</summary>
    /// <param name="shell">The engine; must outlive this.</param>
    /// <param name="self">This Task Executor's name, never used by another one: who is started again has another.</param>
    /// <param name="invite">Asks a Task Executor (first argument) to come to a link of some name, by <see cref="Serve"/>.</param>
    /// <param name="options">Settings.</param>
    public DistFlow(TeShell shell, string self, Func<string, string, CancellationToken, Task> invite, LinkOptions? options = null)
    {
        (this.self, this.invite, this.options, groups) = (self, invite, options ?? new LinkOptions(), shell.Groups);
        foreach (DpGroup group in groups)
            group.AddSupply(new PullSupply(this, group));
    }

    /// <summary>This Task Executor's name.</summary>
    public string Name => self;

    /// <summary>Links over which this one pulls.</summary>
    internal int Links
    {
        get
        {
            lock (gate)
                return fetchers.Count;
        }
    }

    /// <summary>What has been moved.</summary>
    public TransferMetrics Metrics { get; } = new();

    /// <summary>Comes to a link that another Task Executor named, to answer its pulls. Any thread.</summary>
    public void Serve(string name)
    {
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(disposed, this);
            servers.Add(new KvServer(name, options, groups, Metrics, Ended));
        }
    }

    /// <summary>Frees what a ticket names, here or at its owner, because nobody will come for it. Any thread.</summary>
    public void Release(KvTicket ticket)
    {
        if (ticket.Owner != self)
            Fetcher(ticket.Owner)?.Release(ticket);
        else if ((uint)ticket.Group < (uint)groups.Count)
            groups[ticket.Group].Post(() => groups[ticket.Group].Holds.Free(ticket.Number));
    }

    /// <summary>Looks whether a Task Executor answers on its link, outside the engine's loop (paper §6.1).</summary>
    /// <param name="owner">The Task Executor.</param>
    /// <param name="patience">After this the answer counts as blocked.</param>
    public async Task<LinkHealth> ProbeAsync(string owner, TimeSpan patience)
    {
        if (Fetcher(owner) is not { } fetcher)
            return LinkHealth.Blocked;
        Task<double?> probe = fetcher.ProbeAsync();
        if (await Task.WhenAny(probe, Task.Delay(patience)).ConfigureAwait(false) != probe || await probe.ConfigureAwait(false) is not { } seconds)
            return LinkHealth.Blocked;
        return seconds > patience.TotalSeconds / 10 ? LinkHealth.Delayed : LinkHealth.Good;
    }

    /// <summary>Ends all links; what was under way fails and is computed. Call it before the engine is disposed.</summary>
    public void Dispose()
    {
        IDisposable[] open;
        lock (gate)
        {
            disposed = true;
            open = [.. fetchers.Values, .. servers];
            fetchers.Clear();
            servers.Clear();
        }
        foreach (IDisposable link in open)
            link.Dispose();
    }

    internal void Pull(KvPull pull, DpGroup group)
    {
        Metrics.Begin();
        if (Fetcher(pull.Ticket.Owner)?.TryPull(pull, group) == true)
            return;
        Metrics.End(PullStatus.Lost, 0);
        pull.End(PullStatus.Lost);
    }

    private KvFetcher? Fetcher(string owner)
    {
        lock (gate)
        {
            if (disposed)
                return null;
            if (fetchers.TryGetValue(owner, out KvFetcher? known) && !known.Broken)
                return known;
            // Names of Task Executors are not used again, and clients may invent some: links that have ended are not kept.
            foreach ((string other, KvFetcher ended) in fetchers.Where(pair => pair.Value.Broken).ToArray())
            {
                fetchers.Remove(other);
                ended.Dispose();
            }
            return fetchers[owner] = new KvFetcher(owner, LinkName(owner, ++links), options, Metrics, invite);
        }
    }

    /// <summary>A link's name on this host. Names of Task Executors are longer than two of them may be in the name of shared memory.</summary>
    internal string LinkName(string owner, int number) =>
        string.Create(CultureInfo.InvariantCulture, $"kv{Convert.ToHexStringLower(XxHash128.Hash(Encoding.UTF8.GetBytes($"{owner}\n{self}")))}_{number}");

    private void Ended(KvServer server)
    {
        lock (gate)
            servers.Remove(server);
    }
}

/// <summary>What a probe found.</summary>
public enum LinkHealth
{
    /// <summary>The answer came at once.</summary>
    Good,

    /// <summary>It came late: the other side is saturated.</summary>
    Delayed,

    /// <summary>It did not come: the link is at fault.</summary>
    Blocked,
}
