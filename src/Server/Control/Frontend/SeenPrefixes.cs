using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.Server.Control.Frontend;

/// <summary>
/// What a Task Executor's caches hold as a front end sees it: what it told last, and the beginnings of prompts that this front end has given it since.
/// Any thread.
/// </summary>
internal sealed class SeenPrefixes
{
    private const int MostGiven = 1 << 16;
    private readonly Lock _gate = new(); // held for look-ups alone
    private readonly HashSet<ulong> _given = [];
    private PrefixSummary _told = PrefixSummary.Empty;
    private long _version;
    private bool _asking;

    /// <summary>Tokens of a prompt, from its beginning, that it holds or is about to.</summary>
    /// <param name="chain">The prompt's names.</param>
    public int Held(ReadOnlySpan<ulong> chain)
    {
        lock (_gate)
        {
            int given = 0;
            while (given < chain.Length && _given.Contains(chain[given]))
            {
                given++;
            }
            return Math.Max(given * PrefixChain.Span, _told.Held(chain));
        }
    }

    /// <summary>It is to compute a prompt.</summary>
    public void Give(ReadOnlySpan<ulong> chain)
    {
        lock (_gate)
        {
            foreach (ulong name in chain)
            {
                if (_given.Count < MostGiven)
                {
                    _given.Add(name);
                }
            }
        }
    }

    /// <summary>Whether it is to be asked, since what it told last does not hold any more and nobody is asking: the caller asks, and calls <see cref="Tell"/> or <see cref="Fail"/>.</summary>
    /// <param name="version">What it counts changes with.</param>
    public bool Ask(long version)
    {
        lock (_gate)
        {
            bool asks = version != _version && !_asking;
            _asking |= asks;
            return asks;
        }
    }

    /// <summary>It has told.</summary>
    public void Tell(PrefixSummary summary, long version)
    {
        lock (_gate)
        {
            (_told, _version, _asking) = (summary, version, false);
            _given.Clear(); // what it computes still, it will tell of with the next change
        }
    }

    /// <summary>It did not answer.</summary>
    public void Fail()
    {
        lock (_gate)
        {
            _asking = false;
        }
    }
}
