using System.Globalization;
using Microsoft.Extensions.Logging;

namespace XDeepServe.Server.Metrics;

/// <summary>Logs one line about throughput from time to time while requests run; dashboards and scripts read its form.</summary>
internal sealed class ThroughputLog(ServerState state, ILogger log) : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private Task _loop = Task.CompletedTask;

    /// <summary>Starts logging.</summary>
    public void Start() => _loop = LoopAsync(_stop.Token);

    /// <summary>Ends logging.</summary>
    public void Stop() => _stop.Cancel();

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
        _stop.Dispose();
    }

    /// <summary>The line for an interval.</summary>
    public static string Line(EngineLoad before, EngineLoad now, TimeSpan elapsed)
    {
        double prompt = Math.Max(0, now.PromptTokens - before.PromptTokens) / elapsed.TotalSeconds; // workers may have left, with their counts
        double generation = Math.Max(0, now.GenerationTokens - before.GenerationTokens) / elapsed.TotalSeconds;
        double hits = now.PrefixQueries == 0 ? 0 : 100.0 * now.PrefixHits / now.PrefixQueries;
        return string.Create(
            CultureInfo.InvariantCulture,
            $"Engine 000: Avg prompt throughput: {prompt:0.0} tokens/s, Avg generation throughput: {generation:0.0} tokens/s, Running: {now.Running} reqs, Waiting: {now.Waiting} reqs, GPU KV cache usage: {now.KvUsage * 100:0.0}%, Prefix cache hit rate: {hits:0.0}%");
    }

    private async Task LoopAsync(CancellationToken stop)
    {
        using PeriodicTimer timer = new(state.Options.StatisticsInterval, state.Clock);
        EngineLoad before = default;
        bool busy = false;
        long last = state.Clock.GetTimestamp();
        try
        {
            while (await timer.WaitForNextTickAsync(stop))
            {
                EngineLoad now = EngineLoad.Of(state.Model);
                TimeSpan elapsed = state.Clock.GetElapsedTime(last);
                last = state.Clock.GetTimestamp();
                bool active = now.Running + now.Waiting > 0 || now.GenerationTokens != before.GenerationTokens;
                // One more line after the last request shows that the engine came to rest.
                if (active || busy)
                {
                    log.LogInformation("{Line}", Line(before, now, elapsed));
                }
                busy = active;
                before = now;
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // Stopped: nothing more to log.
        }
    }
}
