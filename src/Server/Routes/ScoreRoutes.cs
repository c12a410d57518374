using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using XDeepServe.FlowServe;
using XDeepServe.Server.Http;
using XDeepServe.Server.Requests;
using XDeepServe.Server.Responses;

namespace XDeepServe.Server.Routes;

/// <summary>
/// How well texts go together: <c>/score</c> and <c>/rerank</c> (vLLM, Jina, Cohere) by the score head or by the angle between
/// embeddings, <c>/generative_scoring</c> (vLLM) and <c>/v1/score</c> with label tokens (SGLang) by what the model would say next.
/// </summary>
internal sealed class ScoreRoutes(ServerState state)
{
    private const int MostTexts = 1024;

    /// <summary>Adds the routes.</summary>
    public void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPost("/score", (RequestDelegate)ScoreAsync);
        routes.MapPost("/v1/score", (RequestDelegate)ScoreAsync);
        foreach (string path in (ReadOnlySpan<string>)["/rerank", "/v1/rerank", "/v2/rerank"])
        {
            routes.MapPost(path, (RequestDelegate)RerankAsync);
        }
        routes.MapPost("/generative_scoring", (RequestDelegate)(context => LabelsAsync(context, nested: false)));
    }

    private async Task ScoreAsync(HttpContext context)
    {
        using JsonDocument body = await RequestBody.ReadAsync(context, state.Options.MaxBodyBytes);
        JsonFields fields = new(body.RootElement);
        if (fields.Find("label_token_ids") is not null)
        {
            await LabelsAsync(context, fields, nested: true);
            return;
        }
        LoadedModel model = state.Require();
        string first = fields.Find("queries") is not null ? "queries" : "text_1", second = fields.Find("documents") is not null ? "documents" : "text_2";
        List<string> left = Texts(fields, first), right = Texts(fields, second);
        if (left.Count != 1 && left.Count != right.Count)
        {
            throw ApiException.BadRequest($"'{first}' must hold one text, or as many as '{second}' ({right.Count}), not {left.Count}.", first);
        }
        PrefillJob job = new(state, model, fields, "score-", first);
        float[] scores = await PairsAsync(context, job, left, right);
        await JsonAnswer.SendAsync(context, 200, json =>
        {
            WriteHead(json, job, "list"u8);
            WriteScores(json, scores);
            job.Usage.Write(json);
            json.WriteEndObject();
        });
    }

    private async Task RerankAsync(HttpContext context)
    {
        LoadedModel model = state.Require();
        using JsonDocument body = await RequestBody.ReadAsync(context, state.Options.MaxBodyBytes);
        JsonFields fields = new(body.RootElement);
        string query = fields.String("query") ?? throw ApiException.BadRequest("'query' is missing.", "query");
        List<string> documents = Texts(fields, "documents");
        int top = fields.Integer("top_n", 0) is { } given and > 0 ? given : documents.Count;
        PrefillJob job = new(state, model, fields, "rerank-", "documents");
        float[] scores = await PairsAsync(context, job, [query], documents);
        int[] order = [.. Enumerable.Range(0, scores.Length).OrderByDescending(index => scores[index]).ThenBy(index => index).Take(top)];
        await JsonAnswer.SendAsync(context, 200, json =>
        {
            json.WriteStartObject();
            json.WriteString("id"u8, job.Id);
            json.WriteString("model"u8, job.ModelName);
            job.Usage.Write(json);
            json.WriteStartArray("results"u8);
            foreach (int index in order)
            {
                json.WriteStartObject();
                json.WriteNumber("index"u8, index);
                json.WriteStartObject("document"u8);
                json.WriteString("text"u8, documents[index]);
                json.WriteEndObject();
                json.WriteNumber("relevance_score"u8, scores[index]);
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        });
    }

    private async Task LabelsAsync(HttpContext context, bool nested)
    {
        using JsonDocument body = await RequestBody.ReadAsync(context, state.Options.MaxBodyBytes);
        await LabelsAsync(context, new JsonFields(body.RootElement), nested);
    }

    /// <summary>Puts each item behind (or before) the query and reads the labels' probabilities.</summary>
    private async Task LabelsAsync(HttpContext context, JsonFields fields, bool nested)
    {
        PrefillJob job = new(state, state.Require(), fields, "score-", "items");
        int[] labels = GivenPrompt.ReadIds(fields.Find("label_token_ids") ?? throw ApiException.BadRequest("'label_token_ids' is missing.", "label_token_ids"), "label_token_ids");
        if (!nested && labels.Length != 2)
        {
            throw ApiException.BadRequest($"'label_token_ids' must hold two ids, not {labels.Length}: the score is the first one's share. /v1/score takes any number.", "label_token_ids");
        }
        bool softmax = fields.Boolean("apply_softmax") ?? !nested, itemFirst = fields.Boolean("item_first") ?? false;
        bool special = fields.Boolean("add_special_tokens") ?? true;
        GivenPrompt query = GivenPrompt.ReadAll(fields, "query") is [var only] ? only : throw ApiException.BadRequest("'query' must be one text or one list of token ids; send a request for each query.", "query");
        foreach (GivenPrompt item in GivenPrompt.ReadAll(fields, "items"))
        {
            job.Add(Join(job, itemFirst ? item : query, itemFirst ? query : item, special));
        }
        List<IReadOnlyList<float>> values = await job.RunAsync(context, Readout.Labels(labels));
        List<float[]> shares = [.. values.Select(given => softmax ? Activation.Softmax(given) : [.. given.Select(MathF.Exp)])];
        await JsonAnswer.SendAsync(context, 200, json =>
        {
            WriteHead(json, job, nested ? "scoring"u8 : "list"u8);
            if (nested)
            {
                json.WriteStartArray("scores"u8);
                foreach (float[] given in shares)
                {
                    json.WriteStartArray();
                    Array.ForEach(given, value => json.WriteNumberValue(value));
                    json.WriteEndArray();
                }
                json.WriteEndArray();
            }
            else
            {
                WriteScores(json, [.. shares.Select(given => given[0])]);
            }
            job.Usage.Write(json);
            json.WriteEndObject();
        });
    }

    // Two texts are joined before they are split into tokens, so that a word may reach across; two lists of ids are put together.
    private static int[] Join(PrefillJob job, GivenPrompt first, GivenPrompt second, bool special) => (first.Text, second.Text) switch
    {
        ({ } one, { } two) => job.Encode(one + two, special),
        (null, null) => [.. first.Ids!, .. second.Ids!],
        _ => throw ApiException.BadRequest("'query' and 'items' must both be texts or both be token ids.", "items"),
    };

    private static async Task<float[]> PairsAsync(HttpContext context, PrefillJob job, List<string> left, List<string> right)
    {
        if (job.Served.Labels.Count > 1)
        {
            throw ApiException.BadRequest($"Scoring needs a head with one value; this model's has {job.Served.Labels.Count}. Use /classify.", "model");
        }
        if (job.Served.Labels.Count == 1)
        {
            for (int index = 0; index < right.Count; index++)
            {
                AddPair(job, left[left.Count == 1 ? 0 : index], right[index]);
            }
            return [.. (await job.RunAsync(context, Readout.Scores)).Select(given => Activation.Of(given)[0])];
        }
        left.Concat(right).ToList().ForEach(text => job.Add(GivenPrompt.OfText(text)));
        List<IReadOnlyList<float>> states = await job.RunAsync(context, Readout.LastHidden);
        return [.. Enumerable.Range(0, right.Count).Select(index => Activation.Cosine(states[left.Count == 1 ? 0 : index], states[left.Count + index]))];
    }

    // A model with a chat template was trained on conversations: the query is the user's, the document the assistant's.
    private static void AddPair(PrefillJob job, string query, string document)
    {
        if (job.Served.Template is null)
        {
            job.Add(job.Encode(query + document, addSpecialTokens: true));
            return;
        }
        job.Add(new ChatPrompt
        {
            Messages = new JsonArray(
                new JsonObject { ["role"] = "user", ["content"] = query }, new JsonObject { ["role"] = "assistant", ["content"] = document }),
            Images = [],
            AddGenerationPrompt = false,
            ContinueFinalMessage = false,
            AddSpecialTokens = false,
        });
    }

    private static List<string> Texts(JsonFields fields, string field)
    {
        if (fields.Find(field) is { ValueKind: JsonValueKind.String } one)
        {
            return [JsonFields.Text(one, field)];
        }
        List<string> texts = [.. (fields.Array(field, MostTexts) ?? throw ApiException.BadRequest($"'{field}' is missing.", field)).Select(Text)];
        return texts.Count > 0 ? texts : throw ApiException.BadRequest($"'{field}' must not be empty.", field);

        // Cohere's documents may be objects with a text.
        string Text(JsonElement element) => JsonFields.Text(
            element.ValueKind == JsonValueKind.Object && element.TryGetProperty("text", out JsonElement inner) ? inner : element, field);
    }

    private static void WriteHead(Utf8JsonWriter json, PrefillJob job, ReadOnlySpan<byte> kind)
    {
        json.WriteStartObject();
        json.WriteString("id"u8, job.Id);
        json.WriteString("object"u8, kind);
        json.WriteNumber("created"u8, job.Created);
        json.WriteString("model"u8, job.ModelName);
    }

    private static void WriteScores(Utf8JsonWriter json, float[] scores)
    {
        json.WriteStartArray("data"u8);
        for (int index = 0; index < scores.Length; index++)
        {
            json.WriteStartObject();
            json.WriteNumber("index"u8, index);
            json.WriteString("object"u8, "score"u8);
            json.WriteNumber("score"u8, scores[index]);
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }
}
