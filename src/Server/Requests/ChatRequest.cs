using XDeepServe.FlowServe;
using XDeepServe.Server.Http;

namespace XDeepServe.Server.Requests;

/// <summary>Body of <c>POST /v1/chat/completions</c>.</summary>
internal sealed record ChatRequest
{
    /// <summary>Fields shared with text completions.</summary>
    public required CommonFields Common { get; init; }

    /// <summary>The messages.</summary>
    public required ChatPrompt Prompt { get; init; }

    /// <summary>Whether the answer starts with the text of the last message, if that is the assistant's.</summary>
    public required bool Echo { get; init; }

    /// <summary>Reads a request.</summary>
    public static ChatRequest Read(JsonFields fields, LoadedModel model, ServerOptions options)
    {
        // The newer name wins, as with other servers.
        string maxTokensField = fields.Find("max_completion_tokens") is not null ? "max_completion_tokens" : "max_tokens";
        CommonFields common = CommonFields.Read(fields, model, options, maxTokensField, 1);
        ChatPrompt prompt = ChatPrompt.Read(fields, model.Served, options);
        RefuseModalities(fields);
        fields.Ignore("reasoning_effort", "verbosity", "prediction", "documents", "include_reasoning", "max_tokens");
        return new ChatRequest
        {
            Common = common with { Sampling = common.Sampling with { Logprobs = Logprobs(fields, options) } },
            Prompt = prompt,
            Echo = fields.Boolean("echo") ?? false,
        };
    }

    private static int? Logprobs(JsonFields fields, ServerOptions options)
    {
        bool wanted = fields.Boolean("logprobs") ?? false;
        int? top = fields.Integer("top_logprobs", 0, options.MaxLogprobs);
        if (top > 0 && !wanted)
        {
            throw ApiException.BadRequest("'logprobs' must be true when 'top_logprobs' is set.", "top_logprobs");
        }
        return wanted ? top ?? 0 : null;
    }

    private static void RefuseModalities(JsonFields fields)
    {
        foreach (System.Text.Json.JsonElement modality in fields.Array("modalities", 8) ?? [])
        {
            if (JsonFields.Text(modality, "modalities") != "text")
            {
                throw ApiException.BadRequest("'modalities' may hold only 'text': this model writes nothing else.", "modalities");
            }
        }
        fields.Refuse("audio", "this model writes text only.");
    }
}
