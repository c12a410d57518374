using System.Text.Json.Nodes;
using XDeepServe.Kernels;

namespace XDeepServe.Models.Loading;

/// <summary>
/// How quantised safetensors are published: FP8 as DeepSeek does (<c>weight</c> in F8_E4M3 beside <c>weight_scale_inv</c>, a factor
/// for each square of 128 x 128) and INT8 as compressed-tensors does (<c>weight</c> in I8 beside <c>weight_scale</c>, a factor a
/// row; input rows are quantised while the model runs, a factor a row too).
/// </summary>
internal static class StoredQuantization
{
    private const string Served = "served are fp8 with weight_block_size [128, 128] and compressed-tensors with 8-bit integers (a factor an output channel, dynamic ones a token). Take a bfloat16 version of the model";

    /// <summary>Complains about a <c>quantization_config</c> that cannot be served.</summary>
    /// <exception cref="ModelLoadException">It cannot.</exception>
    public static void Check(ConfigReader reader)
    {
        if (reader.Object("quantization_config") is not { } settings)
            return;
        bool served = Text(settings["quant_method"]) switch
        {
            "fp8" => settings["weight_block_size"] is JsonArray { Count: 2 } sizes && sizes.All(size => Is(size, ElementTypes.SquareLength)),
            "compressed-tensors" => settings["config_groups"] is JsonObject { Count: > 0 } groups && groups.All(group => IsBytes(group.Value)),
            _ => false,
        };
        if (!served)
            throw reader.Wrong("quantization_config", Served);
    }

    /// <summary>The <c>quantization_config</c> that goes with weights of a type; null if none does.</summary>
    public static JsonObject? Describe(ElementType type) => type switch
    {
        ElementType.F8 => new JsonObject
        {
            ["quant_method"] = "fp8",
            ["fmt"] = "e4m3",
            ["activation_scheme"] = "dynamic",
            ["weight_block_size"] = new JsonArray(ElementTypes.SquareLength, ElementTypes.SquareLength),
            ["modules_to_not_convert"] = new JsonArray("lm_head", "kv_b_proj", "gate", "embed_tokens", "eh_proj"),
        },
        ElementType.I8 => new JsonObject
        {
            ["quant_method"] = "compressed-tensors",
            ["format"] = "int-quantized",
            ["quantization_status"] = "compressed",
            ["ignore"] = new JsonArray("lm_head", "re:.*kv_b_proj$", "re:.*mlp\\.gate$", "re:.*eh_proj$"),
            ["config_groups"] = new JsonObject
            {
                ["group_0"] = new JsonObject
                {
                    ["targets"] = new JsonArray("Linear"),
                    ["weights"] = new JsonObject { ["num_bits"] = 8, ["type"] = "int", ["strategy"] = "channel", ["symmetric"] = true, ["dynamic"] = false },
                    ["input_activations"] = new JsonObject { ["num_bits"] = 8, ["type"] = "int", ["strategy"] = "token", ["symmetric"] = true, ["dynamic"] = true },
                },
            },
        },
        _ => null,
    };

    /// <summary>What the name of a weight's factors ends with, instead of <c>weight</c>.</summary>
    public static string FactorSuffix(ElementType type) => type == ElementType.F8 ? "weight_scale_inv" : "weight_scale";

    private static bool IsBytes(JsonNode? group) =>
        group?["weights"] is JsonObject weights && Is(weights["num_bits"], 8) && Text(weights["type"]) == "int"
        && Text(weights["strategy"]) == "channel" && IsTrue(weights["symmetric"])
        && group["input_activations"] is JsonObject inputs && Is(inputs["num_bits"], 8) && Text(inputs["type"]) == "int"
        && Text(inputs["strategy"]) == "token" && IsTrue(inputs["dynamic"]) && IsTrue(inputs["symmetric"]);

    private static string? Text(JsonNode? node) => node is JsonValue value && value.TryGetValue(out string? text) ? text : null;

    private static bool Is(JsonNode? node, int expected) => node is JsonValue value && value.TryGetValue(out int number) && number == expected;

    private static bool IsTrue(JsonNode? node) => node is JsonValue value && value.TryGetValue(out bool flag) && flag;
}
