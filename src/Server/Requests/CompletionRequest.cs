using System.Text.Json;
using XDeepServe.FlowServe;
using XDeepServe.Server.Http;

namespace XDeepServe.Server.Requests;

/// <summary>Body of <c>POST /v1/completions</c>.</summary>
internal sealed record CompletionRequest
{
    private const int MostPrompts = 1024;

    // The default of this endpoint since the first OpenAI models.
    private const int DefaultMaxTokens = 16;

    /// <summary>Fields shared with chat completions.</summary>
    public required CommonFields Common { get; init; }

    /// <summary>The prompts, each a text or token ids.</summary>
    public required IReadOnlyList<GivenPrompt> Prompts { get; init; }

    /// <summary>Whether the answer starts with the prompt.</summary>
    public required bool Echo { get; init; }

    /// <summary>Whether the tokenizer adds its start token.</summary>
    public required bool AddSpecialTokens { get; init; }

    /// <summary>Whether only the prompt comes back: echo with no new tokens.</summary>
    public bool OnlyEcho => Echo && Common.MaxTokens == 0;

    /// <summary>Most new tokens where they fit, else null for as many as fit.</summary>
    public int? DefaultLength { get; init; }

    /// <summary>Reads a request.</summary>
    public static CompletionRequest Read(JsonFields fields, LoadedModel model, ServerOptions options)
    {
        bool echo = fields.Boolean("echo") ?? false;
        CommonFields common = CommonFields.Read(fields, model, options, "max_tokens", echo ? 0 : 1);
        if (fields.String("suffix") is { Length: > 0 })
        {
            throw ApiException.BadRequest("'suffix' is not supported: this model cannot fill in.", "suffix");
        }
        fields.Refuse("prompt_embeds", "prompts are text or token ids.");
        int? logprobs = fields.Integer("logprobs", 0, options.MaxLogprobs);
        return new CompletionRequest
        {
            Common = common with
            {
                Sampling = common.Sampling with
                {
                    Logprobs = logprobs,
                    // An echoed prompt comes with its log-probabilities.
                    PromptLogprobs = common.Sampling.PromptLogprobs ?? (echo ? logprobs : null),
                },
            },
            Prompts = ReadPrompts(fields),
            Echo = echo,
            AddSpecialTokens = fields.Boolean("add_special_tokens") ?? true,
            // An explicit null asks for as many tokens as fit.
            DefaultLength = fields.IsNull("max_tokens") ? null : model.Defaults.MaxTokens ?? DefaultMaxTokens,
        };
    }

    private static List<GivenPrompt> ReadPrompts(JsonFields fields)
    {
        JsonElement given = fields.Find("prompt") ?? throw ApiException.BadRequest("'prompt' is missing.", "prompt");
        if (given.ValueKind == JsonValueKind.String)
        {
            return [GivenPrompt.OfText(JsonFields.Text(given, "prompt"))];
        }
        if (given.ValueKind != JsonValueKind.Array)
        {
            throw Wrong();
        }
        int count = given.GetArrayLength();
        if (count == 0)
        {
            throw ApiException.BadRequest("'prompt' must not be empty.", "prompt");
        }
        if (given[0].ValueKind == JsonValueKind.Number)
        {
            return [GivenPrompt.OfIds(ReadIds(given, "prompt"))];
        }
        if (count > MostPrompts)
        {
            throw ApiException.BadRequest($"'prompt' may hold at most {MostPrompts} prompts, but holds {count}.", "prompt");
        }
        List<GivenPrompt> prompts = [];
        foreach (JsonElement element in given.EnumerateArray())
        {
            prompts.Add(element.ValueKind switch
            {
                JsonValueKind.String => GivenPrompt.OfText(JsonFields.Text(element, "prompt")),
                JsonValueKind.Array => GivenPrompt.OfIds(ReadIds(element, "prompt")),
                _ => throw Wrong(),
            });
        }
        return prompts;
    }

    /// <summary>The ids of a JSON array; whether the model knows them is checked later.</summary>
    public static int[] ReadIds(JsonElement array, string name)
    {
        int[] ids = new int[array.GetArrayLength()];
        int next = 0;
        foreach (JsonElement id in array.EnumerateArray())
        {
            if (id.ValueKind != JsonValueKind.Number || !id.TryGetInt32(out ids[next]) || ids[next] < 0)
            {
                throw ApiException.BadRequest($"'{name}[{next}]' must be a token id: a whole number of at least 0.", name);
            }
            next++;
        }
        return ids;
    }

    private static ApiException Wrong() =>
        ApiException.BadRequest("'prompt' must be a string, an array of strings, an array of token ids, or an array of arrays of token ids.", "prompt");
}

/// <summary>A prompt as the client gave it: a text, or token ids.</summary>
internal readonly record struct GivenPrompt(string? Text, int[]? Ids)
{
    /// <summary>A prompt given as text.</summary>
    public static GivenPrompt OfText(string text) => new(text, null);

    /// <summary>A prompt given as ids.</summary>
    public static GivenPrompt OfIds(int[] ids) => new(null, ids);
}
