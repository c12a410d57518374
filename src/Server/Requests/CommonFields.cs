using System.Text.Json;
using XDeepServe.FlowServe;
using XDeepServe.Server.Http;

namespace XDeepServe.Server.Requests;

/// <summary>Fields that chat and text completions share.</summary>
internal sealed record CommonFields
{
    private const double HottestTemperature = 100;

    /// <summary>The model asked for, or null.</summary>
    public string? Model { get; private init; }

    /// <summary>Id for the answer in place of the header's.</summary>
    public string? RequestId { get; private init; }

    /// <summary>Whether the answer comes as server-sent events.</summary>
    public bool Stream { get; private init; }

    /// <summary>Whether the stream ends with a chunk that holds the usage.</summary>
    public bool IncludeUsage { get; private init; }

    /// <summary>Whether every chunk holds the usage so far.</summary>
    public bool ContinuousUsage { get; private init; }

    /// <summary>Whether answers carry token ids.</summary>
    public bool ReturnTokenIds { get; private init; }

    /// <summary>Whether log-probabilities name tokens <c>token_id:N</c> in place of their text.</summary>
    public bool TokensAsIds { get; private init; }

    /// <summary>Separates prefix caches of tenants.</summary>
    public string? CacheSalt { get; private init; }

    /// <summary>What a router asks for that has prompts and answers done in different places; null for nothing.</summary>
    public KvTransfer? Transfer { get; private init; }

    /// <summary>Lower goes first.</summary>
    public int Priority { get; private init; }

    /// <summary>Prompts keep this many tokens at their end; -1 as many as the model takes; null all.</summary>
    public int? TruncatePrompt { get; private init; }

    /// <summary>Choices that the answer holds, the best of all that are made; null for all of them.</summary>
    public int? Best { get; private init; }

    /// <summary>Most new tokens, as the client set it; null where it left that to the server.</summary>
    public int? MaxTokens { get; private init; }

    /// <summary>Name of the field that holds <see cref="MaxTokens"/>.</summary>
    public string MaxTokensField { get; private init; } = "max_tokens";

    /// <summary>Everything about drawing tokens but the log-probabilities and <see cref="SamplingParameters.MaxTokens"/>.</summary>
    public required SamplingParameters Sampling { get; init; }

    /// <summary>Reads the fields of a request that generates nothing.</summary>
    public static CommonFields ReadForPrefill(JsonFields fields) => new()
    {
        Model = fields.String("model"),
        RequestId = Identifier(fields, "request_id"),
        CacheSalt = Salt(fields),
        Priority = fields.Integer("priority") ?? 0,
        TruncatePrompt = Truncation(fields),
        MaxTokens = 1,
        Sampling = new SamplingParameters { MaxTokens = 1, Detokenize = false },
    };

    /// <summary>Reads the fields.</summary>
    /// <param name="fields">The request.</param>
    /// <param name="model">The model served; its vocabulary bounds token ids.</param>
    /// <param name="options">Limits of the server.</param>
    /// <param name="maxTokensField">The field that bounds the answer; the first of several that is set.</param>
    /// <param name="leastMaxTokens">0 where an empty answer makes sense, else 1.</param>
    public static CommonFields Read(JsonFields fields, LoadedModel model, ServerOptions options, string maxTokensField, int leastMaxTokens)
    {
        Refuse(fields);
        bool stream = fields.Boolean("stream") ?? false;
        (bool includeUsage, bool continuousUsage) = StreamOptions(fields, stream);
        int? promptLogprobs = fields.Integer("prompt_logprobs", 0, options.MaxLogprobs);
        if (promptLogprobs is not null && stream)
        {
            throw ApiException.BadRequest("'prompt_logprobs' are not available when 'stream' is true.", "prompt_logprobs");
        }
        int? maxTokens = fields.Integer(maxTokensField, leastMaxTokens);
        (int choices, int? best) = Choices(fields, model, stream);
        KvTransfer? transfer = KvTransfer.Read(fields, model);
        if (transfer is not null && choices > 1)
        {
            throw ApiException.BadRequest("'kv_transfer_params' are for one choice.", "kv_transfer_params");
        }
        return new CommonFields
        {
            Model = fields.String("model"),
            RequestId = Identifier(fields, "request_id"),
            Transfer = transfer,
            Stream = stream,
            IncludeUsage = includeUsage,
            ContinuousUsage = continuousUsage,
            ReturnTokenIds = fields.Boolean("return_token_ids") ?? false,
            TokensAsIds = (fields.Boolean("return_tokens_as_token_ids") ?? false) || model.Served.Tokenizer is null,
            CacheSalt = Salt(fields),
            Priority = fields.Integer("priority") ?? 0,
            TruncatePrompt = Truncation(fields),
            MaxTokens = maxTokens,
            MaxTokensField = maxTokensField,
            Best = best,
            Sampling = ReadSampling(fields, model, maxTokens, maxTokensField) with { N = choices, PromptLogprobs = promptLogprobs },
        };
    }

    private static SamplingParameters ReadSampling(JsonFields fields, LoadedModel model, int? maxTokens, string maxTokensField)
    {
        SamplingDefaults defaults = model.Defaults;
        int minTokens = fields.Integer("min_tokens", 0) ?? 0;
        if (minTokens > maxTokens)
        {
            throw ApiException.BadRequest($"'min_tokens' ({minTokens}) must not be greater than '{maxTokensField}' ({maxTokens}).", "min_tokens");
        }
        double topP = fields.Number("top_p", 0, 1) ?? defaults.TopP;
        if (topP == 0)
        {
            throw ApiException.BadRequest("'top_p' must be greater than 0 and at most 1.", "top_p");
        }
        double repetition = fields.Number("repetition_penalty", 0, 100) ?? defaults.RepetitionPenalty;
        if (repetition == 0)
        {
            throw ApiException.BadRequest("'repetition_penalty' must be greater than 0.", "repetition_penalty");
        }
        List<string> stops = Stops(fields);
        bool text = model.Served.Tokenizer is not null;
        if (stops.Count > 0 && !text)
        {
            throw ApiException.BadRequest("'stop' needs a tokenizer and this server works on token ids only; use 'stop_token_ids'.", "stop");
        }
        return new SamplingParameters
        {
            MinTokens = minTokens,
            Temperature = fields.Number("temperature", 0, HottestTemperature) ?? defaults.Temperature,
            TopP = topP,
            TopK = Math.Max(0, fields.Integer("top_k", -1) ?? defaults.TopK),
            MinP = fields.Number("min_p", 0, 1) ?? defaults.MinP,
            RepetitionPenalty = repetition,
            PresencePenalty = fields.Number("presence_penalty", -2, 2) ?? 0,
            FrequencyPenalty = fields.Number("frequency_penalty", -2, 2) ?? 0,
            LogitBias = Biases(fields, model.Served.VocabularySize),
            Seed = fields.Long("seed"),
            Stop = stops,
            StopTokenIds = StopIds(fields, model.Served.VocabularySize),
            IgnoreEos = fields.Boolean("ignore_eos") ?? false,
            IncludeStop = fields.Boolean("include_stop_str_in_output") ?? false,
            SkipSpecialTokens = fields.Boolean("skip_special_tokens") ?? true,
            Detokenize = text && (fields.Boolean("detokenize") ?? true),
        };
    }

    // What would change the answer is refused rather than left out silently; what would not is ignored.
    private static void Refuse(JsonFields fields)
    {
        fields.Ignore("user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key", "spaces_between_special_tokens", "length_penalty");
        if (fields.Boolean("use_beam_search") == true)
        {
            throw ApiException.BadRequest("'use_beam_search' is not supported: tokens are drawn one by one.", "use_beam_search");
        }
        fields.Refuse("structured_outputs", "the output cannot be constrained here.");
        foreach (string guided in (ReadOnlySpan<string>)["guided_json", "guided_regex", "guided_choice", "guided_grammar"])
        {
            fields.Refuse(guided, "the output cannot be constrained here.");
        }
        fields.Refuse("allowed_token_ids", "the output cannot be constrained here.");
        if (fields.Array("bad_words", int.MaxValue) is { Count: > 0 })
        {
            throw ApiException.BadRequest("'bad_words' is not supported: the output cannot be constrained here; 'logit_bias' keeps single tokens out.", "bad_words");
        }
        fields.Refuse("logits_processors", "code cannot be sent with a request.");
        ResponseFormat(fields);
    }

    private static void ResponseFormat(JsonFields fields)
    {
        if (fields.Find("response_format") is not { } value)
        {
            return;
        }
        string? type = new JsonFields(value, "response_format").String("type");
        if (type != "text")
        {
            throw ApiException.BadRequest($"'response_format' of type '{type}' is not supported: only 'text' is.", "response_format");
        }
    }

    private static (bool Include, bool Continuous) StreamOptions(JsonFields fields, bool stream)
    {
        if (fields.Find("stream_options") is not { } value)
        {
            return (false, false);
        }
        if (!stream)
        {
            throw ApiException.BadRequest("'stream_options' can only be set when 'stream' is true.", "stream_options");
        }
        JsonFields options = new(value, "stream_options");
        bool include = options.Boolean("include_usage") ?? false;
        return (include, include && (options.Boolean("continuous_usage_stats") ?? false));
    }

    private static (int Made, int? Kept) Choices(JsonFields fields, LoadedModel model, bool stream)
    {
        int n = fields.Integer("n", 1, SamplingParameters.MaxChoices) ?? 1;
        int made = fields.Integer("best_of", n, SamplingParameters.MaxChoices) ?? n;
        if (made == n)
        {
            return (n, null);
        }
        if (model.Served.Rewards is null)
        {
            throw ApiException.BadRequest("'best_of' greater than 'n' needs a reward model: start the server with --reward-model, or choose among 'n' answers yourself.", "best_of");
        }
        return !stream ? (made, n) : throw ApiException.BadRequest("'best_of' greater than 'n' cannot be streamed: answers are compared when all are there.", "best_of");
    }

    private static List<string> Stops(JsonFields fields)
    {
        if (fields.Find("stop") is not { } value)
        {
            return [];
        }
        List<JsonElement> given = value.ValueKind == JsonValueKind.String ? [value] : fields.Array("stop", SamplingParameters.MaxStops)!;
        List<string> stops = [];
        foreach (JsonElement element in given)
        {
            string stop = JsonFields.Text(element, "stop");
            if (stop.Length is 0 or > SamplingParameters.MaxStopLength)
            {
                throw ApiException.BadRequest($"Each string in 'stop' must have between 1 and {SamplingParameters.MaxStopLength} characters.", "stop");
            }
            stops.Add(stop);
        }
        return stops;
    }

    private static IReadOnlyList<int> StopIds(JsonFields fields, int vocabulary) =>
        fields.Array("stop_token_ids", SamplingParameters.MaxStops) is { } ids
            ? [.. ids.Select(id => (int)JsonFields.Whole(id, "stop_token_ids", 0, vocabulary - 1))]
            : [];

    private static List<(int Id, float Bias)> Biases(JsonFields fields, int vocabulary)
    {
        List<(int, float)> biases = [];
        if (fields.Find("logit_bias") is not { } value)
        {
            return biases;
        }
        if (value.ValueKind != JsonValueKind.Object)
        {
            throw ApiException.BadRequest("'logit_bias' must be an object that maps token ids to numbers.", "logit_bias");
        }
        foreach (JsonProperty pair in value.EnumerateObject())
        {
            if (!int.TryParse(pair.Name, System.Globalization.NumberStyles.None, null, out int id) || id >= vocabulary)
            {
                throw ApiException.BadRequest($"'logit_bias' names '{pair.Name}', which is not a token id between 0 and {vocabulary - 1}.", "logit_bias");
            }
            biases.Add((id, (float)JsonFields.Finite(pair.Value, "logit_bias", -100, 100)));
        }
        return biases.Count <= SamplingParameters.MaxBiases
            ? biases
            : throw ApiException.BadRequest($"'logit_bias' may hold at most {SamplingParameters.MaxBiases} tokens, but holds {biases.Count}.", "logit_bias");
    }

    private static int? Truncation(JsonFields fields)
    {
        int? keep = fields.Integer("truncate_prompt_tokens", -1);
        return keep != 0 ? keep : throw ApiException.BadRequest("'truncate_prompt_tokens' must be -1 or at least 1.", "truncate_prompt_tokens");
    }

    private static string? Salt(JsonFields fields)
    {
        string? salt = fields.String("cache_salt");
        return salt is not { Length: 0 or > 1024 }
            ? salt
            : throw ApiException.BadRequest("'cache_salt' must have between 1 and 1024 characters.", "cache_salt");
    }

    private static string? Identifier(JsonFields fields, string field)
    {
        string? id = fields.String(field);
        return id is not { Length: 0 or > 128 }
            ? id
            : throw ApiException.BadRequest($"'{field}' must have between 1 and 128 characters.", field);
    }
}
