using System.Collections.Concurrent;
using System.Globalization;

namespace XDeepServe.Server.Metrics;

/// <summary>Counts HTTP requests and their durations, by route, method and status.</summary>
internal sealed class HttpMetrics
{
    private static readonly double[] s_bounds = [0.1, 0.5, 1];
    private readonly ConcurrentDictionary<(string Route, string Method, string Status), StrongCount> _requests = new();
    private readonly ConcurrentDictionary<(string Route, string Method), Durations> _durations = new();

    /// <summary>Counts one answered request.</summary>
    /// <param name="route">Pattern of the route, from a fixed set.</param>
    /// <param name="method">HTTP method; unusual ones are counted together.</param>
    /// <param name="status">Status of the answer.</param>
    /// <param name="elapsed">From the request's headers to the end of the answer.</param>
    public void Count(string route, string method, int status, TimeSpan elapsed)
    {
        string verb = method is "GET" or "POST" or "HEAD" or "PUT" or "DELETE" or "OPTIONS" or "PATCH" ? method : "other";
        string family = string.Create(CultureInfo.InvariantCulture, $"{status / 100}xx");
        _requests.GetOrAdd((route, verb, family), static _ => new StrongCount()).Increment();
        _durations.GetOrAdd((route, verb), static _ => new Durations()).Add(elapsed.TotalSeconds);
    }

    /// <summary>Writes both families.</summary>
    public void Write(PrometheusText text)
    {
        text.Head("http_requests_total", "counter", "Number of requests by method, status and handler.");
        foreach (((string route, string method, string status), StrongCount count) in _requests.OrderBy(pair => pair.Key))
        {
            text.Sample("http_requests_total", [("handler", route), ("method", method), ("status", status)], count.Value);
        }
        text.Head("http_request_duration_seconds", "histogram", "Duration of requests by handler and method, in seconds.");
        foreach (((string route, string method), Durations durations) in _durations.OrderBy(pair => pair.Key))
        {
            (long[] counts, double sum) = durations.Read();
            text.Histogram("http_request_duration_seconds", [("handler", route), ("method", method)], s_bounds, counts, sum);
        }
    }

    private sealed class StrongCount
    {
        private long _value;

        public long Value => Interlocked.Read(ref _value);

        public void Increment() => Interlocked.Increment(ref _value);
    }

    private sealed class Durations
    {
        private readonly Lock _lock = new();
        private readonly long[] _counts = new long[s_bounds.Length + 1]; // [bounds, then above the last]
        private double _sum;

        public void Add(double seconds)
        {
            int bucket = 0;
            while (bucket < s_bounds.Length && seconds > s_bounds[bucket])
            {
                bucket++;
            }
            lock (_lock)
            {
                _counts[bucket]++;
                _sum += seconds;
            }
        }

        public (long[] Counts, double Sum) Read()
        {
            lock (_lock)
            {
                return ([.. _counts], _sum);
            }
        }
    }
}
