using System.Globalization;

namespace XDeepServe.Cli.Bench;

/// <summary>Limits on a request's latencies, in milliseconds: <c>ttft:…</c>, <c>tpot:…</c>, <c>e2el:…</c>. Requests within all of them are good.</summary>
internal sealed class Goodput
{
    private readonly Dictionary<string, double> limits = [];

    /// <summary>Reads the limits.</summary>
    /// <exception cref="ArgumentException">One is not a known name, a colon and a number.</exception>
    public Goodput(IEnumerable<string> texts)
    {
        foreach (string text in texts)
        {
            string[] parts = text.Split(':');
            if (parts.Length != 2 || parts[0] is not ("ttft" or "tpot" or "e2el")
                || !double.TryParse(parts[1], CultureInfo.InvariantCulture, out double limit) || !(limit >= 0))
                throw new ArgumentException($"--goodput: '{text}' is not ttft, tpot or e2el, a colon and milliseconds.");
            limits[parts[0]] = limit;
        }
    }

    /// <summary>Whether there is any limit.</summary>
    public bool Any => limits.Count > 0;

    /// <summary>Whether a completed request keeps every limit.</summary>
    public bool Holds(LoadResult result) =>
        Within("ttft", result.FirstToken) && Within("tpot", result.Generated > 1 ? result.TimePerToken : 0) && Within("e2el", result.Latency);

    private bool Within(string name, double seconds) => !limits.TryGetValue(name, out double limit) || seconds * 1000 <= limit;
}
