using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using XDeepServe.Models.Text;
using XDeepServe.Server.Http;
using XDeepServe.Server.Requests;
using XDeepServe.Server.Responses;

namespace XDeepServe.Server.Routes;

/// <summary><c>/tokenize</c> and <c>/detokenize</c>.</summary>
internal sealed class TokenRoutes(ServerState state)
{
    /// <summary>Adds the routes.</summary>
    public void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPost("/tokenize", (RequestDelegate)TokenizeAsync);
        routes.MapPost("/detokenize", (RequestDelegate)DetokenizeAsync);
    }

    private async Task TokenizeAsync(HttpContext context)
    {
        ServedModel model = state.Require().Served;
        Tokenizer tokenizer = RequireTokenizer(model);
        using JsonDocument body = await RequestBody.ReadAsync(context, state.Options.MaxBodyBytes);
        JsonFields fields = new(body.RootElement);
        state.ModelName(fields.String("model"));
        int[] ids;
        if (fields.Find("messages") is not null)
        {
            ChatPrompt prompt = ChatPrompt.Read(fields, model, state.Options);
            (ids, _) = prompt.Place(prompt.Encode(tokenizer, prompt.Render(model)), model);
        }
        else
        {
            string text = fields.String("prompt") ?? throw ApiException.BadRequest("Give 'prompt' or 'messages'.", "prompt");
            ids = tokenizer.Encode(text, fields.Boolean("add_special_tokens") ?? true);
        }
        bool withStrings = fields.Boolean("return_token_strs") ?? false;
        await JsonAnswer.SendAsync(context, 200, json =>
        {
            json.WriteStartObject();
            json.WriteNumber("count"u8, ids.Length);
            json.WriteNumber("max_model_len"u8, model.MaxModelLength);
            Job.WriteIds(json, "tokens"u8, ids);
            if (withStrings)
            {
                json.WriteStartArray("token_strs"u8);
                foreach (int id in ids)
                {
                    json.WriteStringValue(tokenizer.Piece(id));
                }
                json.WriteEndArray();
            }
            else
            {
                json.WriteNull("token_strs"u8);
            }
            json.WriteEndObject();
        });
    }

    private async Task DetokenizeAsync(HttpContext context)
    {
        ServedModel model = state.Require().Served;
        Tokenizer tokenizer = RequireTokenizer(model);
        using JsonDocument body = await RequestBody.ReadAsync(context, state.Options.MaxBodyBytes);
        JsonFields fields = new(body.RootElement);
        state.ModelName(fields.String("model"));
        JsonElement tokens = fields.Find("tokens") ?? throw ApiException.BadRequest("'tokens' is missing.", "tokens");
        if (tokens.ValueKind != JsonValueKind.Array)
        {
            throw ApiException.BadRequest("'tokens' must be an array of token ids.", "tokens");
        }
        int[] ids = GivenPrompt.ReadIds(tokens, "tokens");
        foreach (int id in ids)
        {
            // A model may have more ids than its tokenizer has tokens; those have no text.
            if (id >= tokenizer.VocabularySize)
            {
                throw ApiException.BadRequest($"'tokens' holds the id {id}, but the tokenizer knows 0 to {tokenizer.VocabularySize - 1}.", "tokens");
            }
        }
        string text = tokenizer.Decode(ids);
        await JsonAnswer.SendAsync(context, 200, json =>
        {
            json.WriteStartObject();
            json.WriteString("prompt"u8, text);
            json.WriteEndObject();
        });
    }

    private static Tokenizer RequireTokenizer(ServedModel model) =>
        model.Tokenizer ?? throw ApiException.BadRequest("This server works on token ids only: it was started without a tokenizer.");
}
