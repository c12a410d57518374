using System.Globalization;
using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.Server.Metrics;

/// <summary>What ranks that share experts have done. One of them tells it for all.</summary>
internal static class MixtureText
{
    /// <summary>Writes the families.</summary>
    public static void Write(PrometheusText text, MixtureMetrics mixture)
    {
        text.Head("xds:stage_seconds_total", "counter", "Where the time of ranks with attention or experts goes, by stage.");
        foreach (RankStages rank in mixture.Ranks)
        {
            foreach ((string stage, double seconds) in rank.Stages)
            {
                text.Sample("xds:stage_seconds_total", [("rank", rank.Name), ("stage", stage)], seconds);
            }
        }
        text.Head("xds:stage_batches_total", "counter", "Batches that went through a rank's stages.");
        foreach (RankStages rank in mixture.Ranks)
        {
            text.Sample("xds:stage_batches_total", [("rank", rank.Name)], rank.Batches);
        }
        text.Head("xds:slow_rank", "gauge", "1 for a rank that keeps the others waiting: its batches take far longer than elsewhere.");
        foreach (RankStages rank in mixture.Ranks)
        {
            text.Sample("xds:slow_rank", [("rank", rank.Name)], rank.Slow ? 1 : 0);
        }
        text.Head("xds:expert_balancedness", "gauge", "Mean over largest load of an expert rank, by layer, when the balancer last looked: with the experts as they were before their last change, and as they are.");
        foreach (LayerBalance layer in mixture.Layers)
        {
            string number = layer.Layer.ToString(CultureInfo.InvariantCulture);
            text.Sample("xds:expert_balancedness", [("layer", number), ("placement", "before")], layer.Before);
            text.Sample("xds:expert_balancedness", [("layer", number), ("placement", "after")], layer.After);
        }
        text.Single("xds:expert_rebalancings_total", "counter", "Times that experts were moved because of their load.", [], mixture.Rebalancings);
        text.Single("xds:expert_moves_total", "counter", "Experts loaded into slots because of their load.", [], mixture.Moves);
        text.Single("xds:expert_move_bytes_total", "counter", "Bytes of their weights.", [], mixture.Bytes);
        text.Single("xds:expert_move_stall_seconds_max", "gauge", "Longest time for which a change of experts has kept a rank from its work.", [], mixture.LongestStall.TotalSeconds);
        text.Single("xds:expert_recoveries_total", "counter", "Times that ranks have agreed anew on who has which experts, because some were gone or had come.", [], mixture.Recoveries);
    }
}
