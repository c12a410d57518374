using System.Runtime.InteropServices;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using XDeepServe.FlowServe;
using XDeepServe.Server.Http;
using XDeepServe.Server.Requests;
using XDeepServe.Server.Responses;

namespace XDeepServe.Server.Routes;

/// <summary>
/// What a model says of whole texts: <c>/classify</c>, <c>/pooling</c>, <c>/v1/embeddings</c>, and the reward interfaces of
/// trainers, <c>/get_reward</c> (OpenRLHF) and <c>/v1/score/evaluation</c> (LLaMA-Factory).
/// </summary>
internal sealed class ReadingRoutes(ServerState state)
{
    /// <summary>Adds the routes.</summary>
    public void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPost("/classify", (RequestDelegate)ClassifyAsync);
        routes.MapPost("/pooling", (RequestDelegate)PoolAsync);
        routes.MapPost("/v1/embeddings", (RequestDelegate)EmbedAsync);
        routes.MapPost("/get_reward", (RequestDelegate)RewardAsync);
        routes.MapPost("/v1/score/evaluation", (RequestDelegate)EvaluateAsync);
    }

    private async Task ClassifyAsync(HttpContext context)
    {
        LoadedModel model = state.Require();
        using JsonDocument body = await RequestBody.ReadAsync(context, state.Options.MaxBodyBytes);
        JsonFields fields = new(body.RootElement);
        PrefillJob job = new(state, model, fields, "classify-", "input");
        bool activate = Activates(fields);
        job.AddInput();
        List<IReadOnlyList<float>> values = await job.RunAsync(context, Readout.Scores);
        await SendListAsync(context, job, values, (json, given) =>
        {
            float[] shares = activate ? Activation.Of(given) : [.. given];
            int best = shares.AsSpan().IndexOf(shares.Max());
            json.WriteString("label"u8, best < job.Served.Labels.Count ? job.Served.Labels[best] : $"LABEL_{best}");
            WriteNumbers(json, "probs"u8, shares);
            json.WriteNumber("num_classes"u8, shares.Length);
        });
    }

    private async Task PoolAsync(HttpContext context)
    {
        LoadedModel model = state.Require();
        using JsonDocument body = await RequestBody.ReadAsync(context, state.Options.MaxBodyBytes);
        JsonFields fields = new(body.RootElement);
        PrefillJob job = new(state, model, fields, "pool-", "input");
        bool scores = fields.String("task") switch
        {
            null => model.Served.Labels.Count > 0,
            "classify" => true,
            "embed" => false,
            _ => throw ApiException.BadRequest("'task' must be 'classify' or 'embed'.", "task"),
        };
        bool activate = Activates(fields), base64 = IsBase64(fields);
        job.AddInput();
        List<IReadOnlyList<float>> values = await job.RunAsync(context, scores ? Readout.Scores : Readout.LastHidden);
        await SendListAsync(context, job, values, (json, given) =>
        {
            json.WriteString("object"u8, "pooling"u8);
            WriteVector(json, "data"u8, !activate ? [.. given] : scores ? Activation.Of(given) : Activation.Unit(given), base64);
        });
    }

    private async Task EmbedAsync(HttpContext context)
    {
        LoadedModel model = state.Require();
        using JsonDocument body = await RequestBody.ReadAsync(context, state.Options.MaxBodyBytes);
        JsonFields fields = new(body.RootElement);
        PrefillJob job = new(state, model, fields, "embd-", "input");
        bool base64 = IsBase64(fields);
        fields.Refuse("dimensions", "this model's embeddings cannot be cut short.");
        job.AddInput();
        List<IReadOnlyList<float>> values = await job.RunAsync(context, Readout.LastHidden);
        await SendListAsync(context, job, values, (json, given) =>
        {
            json.WriteString("object"u8, "embedding"u8);
            WriteVector(json, "embedding"u8, Activation.Unit(given), base64);
        });
    }

    private async Task RewardAsync(HttpContext context)
    {
        using JsonDocument body = await RequestBody.ReadAsync(context, state.Options.MaxBodyBytes);
        JsonFields fields = new(body.RootElement);
        float[] rewards = await RewardsAsync(context, fields, "query");
        await JsonAnswer.SendAsync(context, 200, json =>
        {
            json.WriteStartObject();
            WriteNumbers(json, "rewards"u8, rewards);
            WriteNumbers(json, "scores"u8, rewards);
            json.WriteStartObject("extra_logs"u8);
            json.WriteEndObject();
            json.WriteEndObject();
        });
    }

    private async Task EvaluateAsync(HttpContext context)
    {
        using JsonDocument body = await RequestBody.ReadAsync(context, state.Options.MaxBodyBytes);
        JsonFields fields = new(body.RootElement);
        float[] rewards = await RewardsAsync(context, fields, "messages", fields.Integer("max_length", 1));
        string name = state.ModelName(fields.String("model"));
        await JsonAnswer.SendAsync(context, 200, json =>
        {
            json.WriteStartObject();
            json.WriteString("id"u8, $"scoreval-{context.TraceIdentifier}");
            json.WriteString("object"u8, "score.evaluation"u8);
            json.WriteString("model"u8, name);
            WriteNumbers(json, "scores"u8, rewards);
            json.WriteEndObject();
        });
    }

    // Trainers send whole conversations as text that their own tokenizer wrote; its special tokens are in it. Conversations
    // with images go through the model's template. LLaMA-Factory cuts texts behind a length, as its tokenizer does.
    private async Task<float[]> RewardsAsync(HttpContext context, JsonFields fields, string field, int? longest = null)
    {
        PrefillJob job = new(state, state.Require(), fields, "reward-", field);
        if (field == "query" && fields.Find("messages") is not null)
        {
            job.AddConversations();
        }
        else
        {
            foreach (GivenPrompt given in GivenPrompt.ReadAll(fields, field))
            {
                job.Add(given.Text is { } text ? job.Encode(text, addSpecialTokens: false, longest) : given.Ids![..Math.Min(given.Ids!.Length, longest ?? int.MaxValue)]);
            }
        }
        List<IReadOnlyList<float>> values = await job.RunAsync(context, Readout.Scores);
        return values[0].Count == 1
            ? [.. values.Select(given => given[0])]
            : throw ApiException.BadRequest($"A reward is one value, but this model's head has {values[0].Count}; use /classify.", field);
    }

    private static bool Activates(JsonFields fields) => fields.Boolean("use_activation") ?? fields.Boolean("activation") ?? true;

    private static bool IsBase64(JsonFields fields) => fields.String("encoding_format") switch
    {
        null or "float" => false,
        "base64" => true,
        _ => throw ApiException.BadRequest("'encoding_format' must be 'float' or 'base64'.", "encoding_format"),
    };

    private static Task SendListAsync(HttpContext context, PrefillJob job, List<IReadOnlyList<float>> values, Action<Utf8JsonWriter, IReadOnlyList<float>> write) =>
        JsonAnswer.SendAsync(context, 200, json =>
        {
            json.WriteStartObject();
            json.WriteString("id"u8, job.Id);
            json.WriteString("object"u8, "list"u8);
            json.WriteNumber("created"u8, job.Created);
            json.WriteString("model"u8, job.ModelName);
            json.WriteStartArray("data"u8);
            for (int index = 0; index < values.Count; index++)
            {
                json.WriteStartObject();
                json.WriteNumber("index"u8, index);
                write(json, values[index]);
                json.WriteEndObject();
            }
            json.WriteEndArray();
            job.Usage.Write(json);
            json.WriteEndObject();
        });

    private static void WriteVector(Utf8JsonWriter json, ReadOnlySpan<byte> name, float[] values, bool base64)
    {
        if (base64)
        {
            json.WriteBase64String(name, MemoryMarshal.AsBytes(values.AsSpan()));
        }
        else
        {
            WriteNumbers(json, name, values);
        }
    }

    private static void WriteNumbers(Utf8JsonWriter json, ReadOnlySpan<byte> name, float[] values)
    {
        json.WriteStartArray(name);
        foreach (float value in values)
        {
            json.WriteNumberValue(value);
        }
        json.WriteEndArray();
    }
}
