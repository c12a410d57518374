using XDeepServe.FlowServe;
using XDeepServe.Server.Http;

namespace XDeepServe.Server.Requests;

/// <summary>Body of <c>POST /v1/completions</c>.</summary>
internal sealed record CompletionRequest
{
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
            Prompts = GivenPrompt.ReadAll(fields, "prompt"),
            Echo = echo,
            AddSpecialTokens = fields.Boolean("add_special_tokens") ?? true,
            // An explicit null asks for as many tokens as fit.
            DefaultLength = fields.IsNull("max_tokens") ? null : model.Defaults.MaxTokens ?? DefaultMaxTokens,
        };
    }
}
