using System.Text;
using System.Text.Json;
using XDeepServe.FlowServe;
using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.Server.Metrics;

/// <summary>Experts as the page shows them: loads and slots by layer, and where the ranks' time goes.</summary>
internal static class ExpertStatus
{
    /// <summary>What nobody shares.</summary>
    public const string Nothing = "{}";

    /// <summary>A JSON object; null if this engine's ranks have another that tells it.</summary>
    public static string? Of(IEngine engine)
    {
        if (engine.Metrics is not [{ Mixture: { Speaks: true } mixture }, ..])
        {
            return null;
        }
        using MemoryStream bytes = new();
        using (Utf8JsonWriter json = new(bytes))
        {
            Write(json, mixture);
        }
        return Encoding.UTF8.GetString(bytes.GetBuffer().AsSpan(0, (int)bytes.Length));
    }

    private static void Write(Utf8JsonWriter json, MixtureMetrics mixture)
    {
        json.WriteStartObject();
        json.WriteNumber("moves"u8, mixture.Moves);
        json.WriteNumber("move_bytes"u8, mixture.Bytes);
        json.WriteNumber("longest_stall_seconds"u8, mixture.LongestStall.TotalSeconds);
        json.WriteStartArray("ranks"u8);
        foreach (RankStages rank in mixture.Ranks)
        {
            json.WriteStartObject();
            json.WriteString("name"u8, rank.Name);
            json.WriteBoolean("slow"u8, rank.Slow);
            json.WriteNumber("batches"u8, rank.Batches);
            json.WriteStartObject("stages"u8);
            foreach ((string stage, double seconds) in rank.Stages)
            {
                json.WriteNumber(stage, seconds);
            }
            json.WriteEndObject();
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteStartArray("layers"u8);
        foreach (LayerBalance layer in mixture.Layers)
        {
            json.WriteStartObject();
            json.WriteNumber("layer"u8, layer.Layer);
            json.WriteNumber("before"u8, layer.Before);
            json.WriteNumber("after"u8, layer.After);
            Numbers(json, "tokens", layer.Tokens);
            Numbers(json, "slots_before", layer.SlotsBefore.Select(slots => (long)slots));
            Numbers(json, "slots", layer.Slots.Select(slots => (long)slots));
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void Numbers(Utf8JsonWriter json, string name, IEnumerable<long> values)
    {
        json.WriteStartArray(name);
        foreach (long value in values)
        {
            json.WriteNumberValue(value);
        }
        json.WriteEndArray();
    }
}
