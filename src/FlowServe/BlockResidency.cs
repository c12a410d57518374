using System.Diagnostics;

namespace XDeepServe.FlowServe;

/// <summary>
/// Notes when cache blocks are taken, used again and evicted, so that a cache that is too small shows: blocks that live shortly
/// or go soon after their last use. Touches no tensor. One thread.
/// </summary>
internal sealed class BlockResidency(int blocks, EngineMetrics metrics)
{
    private readonly long[] taken = new long[blocks]; // [blocks] time stamps
    private readonly long[] used = new long[blocks];  // [blocks] of taking it, or of the last match

    /// <summary>A sequence got the block for content of its own.</summary>
    public void Take(int block) => taken[block] = used[block] = Stopwatch.GetTimestamp();

    /// <summary>A prompt found its content in the block.</summary>
    public void Use(int block)
    {
        long now = Stopwatch.GetTimestamp();
        metrics.BlockReuseGap.Observe(EngineMetrics.Seconds(used[block], now));
        used[block] = now;
    }

    /// <summary>The block's content is forgotten for the sake of other content.</summary>
    public void Evict(int block)
    {
        long now = Stopwatch.GetTimestamp();
        metrics.BlockLifetime.Observe(EngineMetrics.Seconds(taken[block], now));
        metrics.BlockIdle.Observe(EngineMetrics.Seconds(used[block], now));
    }
}
