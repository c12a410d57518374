using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using XDeepServe.Server.Http;

namespace XDeepServe.Server.Routes;

/// <summary><c>/v1/models</c>: one card per name the model answers to.</summary>
internal sealed class ModelRoutes(ServerState state)
{
    private static readonly string[] s_methods = [HttpMethods.Get, HttpMethods.Head];

    /// <summary>Adds the routes.</summary>
    public void Map(IEndpointRouteBuilder routes)
    {
        routes.MapMethods("/v1/models", s_methods, (RequestDelegate)ListAsync);
        // Names may hold slashes.
        routes.MapMethods("/v1/models/{**name}", s_methods, (RequestDelegate)OneAsync);
    }

    private Task ListAsync(HttpContext context)
    {
        LoadedModel model = state.Require();
        return JsonAnswer.SendAsync(context, 200, json =>
        {
            json.WriteStartObject();
            json.WriteString("object"u8, "list"u8);
            json.WriteStartArray("data"u8);
            foreach (string name in state.Options.ServedModelNames)
            {
                WriteCard(json, name, model.Served);
            }
            json.WriteEndArray();
            json.WriteEndObject();
        });
    }

    private Task OneAsync(HttpContext context)
    {
        LoadedModel model = state.Require();
        string name = state.ModelName((string?)context.Request.RouteValues["name"] ?? "");
        return JsonAnswer.SendAsync(context, 200, json => WriteCard(json, name, model.Served));
    }

    private void WriteCard(Utf8JsonWriter json, string name, ServedModel model)
    {
        json.WriteStartObject();
        json.WriteString("id"u8, name);
        json.WriteString("object"u8, "model"u8);
        json.WriteNumber("created"u8, state.Started);
        json.WriteString("owned_by"u8, "xdeepserve"u8);
        json.WriteString("root"u8, state.Options.ModelRoot ?? state.Options.ServedModelNames[0]);
        json.WriteNull("parent"u8);
        json.WriteNumber("max_model_len"u8, model.MaxModelLength);
        json.WriteStartArray("permission"u8);
        json.WriteStartObject();
        json.WriteString("id"u8, "modelperm-" + name);
        json.WriteString("object"u8, "model_permission"u8);
        json.WriteNumber("created"u8, state.Started);
        foreach ((string right, bool granted) in Rights())
        {
            json.WriteBoolean(right, granted);
        }
        json.WriteString("organization"u8, "*"u8);
        json.WriteNull("group"u8);
        json.WriteBoolean("is_blocking"u8, false);
        json.WriteEndObject();
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static (string Right, bool Granted)[] Rights() =>
    [
        ("allow_create_engine", false),
        ("allow_sampling", true),
        ("allow_logprobs", true),
        ("allow_search_indices", false),
        ("allow_view", true),
        ("allow_fine_tuning", false),
    ];
}
