using System.Text.Json;
using XDeepServe.FlowServe;
using XDeepServe.FlowServe.DistFlow;
using XDeepServe.Models.Images;
using XDeepServe.Server.Requests;

namespace XDeepServe.Server.Responses;

/// <summary>One request on its way to an answer: what its chunks have in common.</summary>
internal sealed class Job(CommonFields common, LoadedModel model, string modelName, string id, long created, string promptField)
{
    /// <summary>Fields of the request.</summary>
    public CommonFields Common { get; } = common;

    /// <summary>Id of the answer.</summary>
    public string Id { get; } = id;

    /// <summary>The field that holds the prompt.</summary>
    public string PromptField { get; } = promptField;

    /// <summary>What is read behind the prompts; null to generate.</summary>
    public Readout? Readout { get; init; }

    /// <summary>The prompts as ids.</summary>
    public List<Prompt> Prompts { get; } = [];

    /// <summary>Names of tokens.</summary>
    public TokenText Tokens { get; } = new(model.Served.Tokenizer, common.TokensAsIds);

    /// <summary>Choices per prompt.</summary>
    public int Choices => Common.Sampling.N;

    /// <summary>Hands every prompt to the engine. If one is refused, those before it are aborted.</summary>
    public List<Generation> Submit()
    {
        List<Generation> generations = [];
        try
        {
            foreach (Prompt prompt in Prompts)
            {
                generations.Add(Submit(prompt));
            }
            return generations;
        }
        catch
        {
            foreach (Generation generation in generations)
            {
                generation.Dispose();
            }
            throw;
        }
    }

    /// <summary>Ends the answer if the engine failed at it.</summary>
    /// <exception cref="Http.ApiException">Nothing can run it now (503), or it can never be run as it is (400).</exception>
    /// <exception cref="NotFiniteNumberException">What it computes are no numbers.</exception>
    /// <exception cref="InvalidOperationException">It did; the cause is inside.</exception>
    public void Check(Generation generation, OutputDelta delta)
    {
        if (delta.FinishReason == "error")
        {
            if (generation.Failure is UnavailableException unavailable)
            {
                throw new Http.ApiException(503, unavailable.Message, null, TimeSpan.FromSeconds(1));
            }
            if (generation.Failure is InvalidRequestException invalid)
            {
                throw Refusal(invalid);
            }
            if (generation.Failure is NotFiniteNumberException broken)
            {
                throw new NotFiniteNumberException(broken.Message, broken);
            }
            throw new InvalidOperationException($"The engine failed at the request {generation.Request.Id}.", generation.Failure);
        }
    }

    /// <summary>Opens the JSON object of an answer or chunk: id, object, created, model.</summary>
    public void WriteHead(Utf8JsonWriter json, ReadOnlySpan<byte> kind)
    {
        json.WriteStartObject();
        json.WriteString("id"u8, Id);
        json.WriteString("object"u8, kind);
        json.WriteNumber("created"u8, created);
        json.WriteString("model"u8, modelName);
    }

    /// <summary>Writes a list of ids under a name.</summary>
    public static void WriteIds(Utf8JsonWriter json, ReadOnlySpan<byte> name, IEnumerable<int> ids)
    {
        json.WriteStartArray(name);
        foreach (int id in ids)
        {
            json.WriteNumberValue(id);
        }
        json.WriteEndArray();
    }

    /// <summary>Writes why a choice ended: <c>finish_reason</c> and <c>stop_reason</c> (the stop string or id that ended it).</summary>
    public static void WriteFinish(Utf8JsonWriter json, string? finish, object? stop)
    {
        json.WriteString("finish_reason"u8, finish);
        switch (stop)
        {
            case string text:
                json.WriteString("stop_reason"u8, text);
                break;
            case int id:
                json.WriteNumber("stop_reason"u8, id);
                break;
            default:
                json.WriteNull("stop_reason"u8);
                break;
        }
    }

    private Generation Submit(Prompt prompt)
    {
        // Behind the first token there must be something left to go on with.
        bool holds = Common.Transfer is { Holds: true } && Readout is null && prompt.Ids.Length + 2 <= model.Served.MaxModelLength;
        if (Common.Transfer is not null && Prompts.Count > 1)
        {
            throw Http.ApiException.BadRequest("'kv_transfer_params' are for one prompt.", "kv_transfer_params");
        }
        KvTicket? ticket = Common.Transfer?.TicketFor(prompt.Ids, Common.CacheSalt);
        try
        {
            return model.Served.Engine.Submit(new GenerationRequest
            {
                // Clients may repeat their ids; the engine's are unique.
                Id = $"{Id}-{Guid.NewGuid():N}",
                Prompt = prompt.Ids,
                Images = prompt.Images,
                Sampling = Common.Sampling with { MaxTokens = holds ? Math.Max(2, prompt.NewTokens) : prompt.NewTokens },
                HandOverAfter = holds ? 1 : null,
                Ticket = ticket,
                CacheSalt = Common.CacheSalt,
                Readout = Readout,
                TraceParent = System.Diagnostics.Activity.Current?.Id,
                Priority = Common.Priority,
            });
        }
        catch (InvalidRequestException invalid)
        {
            throw Refusal(invalid);
        }
    }

    // The engine names its own fields; the client knows those it sent.
    private Http.ApiException Refusal(InvalidRequestException invalid) => Http.ApiException.BadRequest(invalid.Message, invalid.Param?.ToLowerInvariant() switch
    {
        "prompt" => PromptField,
        "max_tokens" or "maxtokens" => Common.MaxTokensField,
        _ => invalid.Param,
    });
}

/// <summary>A prompt ready for the engine.</summary>
/// <param name="Ids">Its tokens.</param>
/// <param name="Text">Its text, where the client gave one.</param>
/// <param name="NewTokens">Most tokens to add.</param>
internal sealed record Prompt(int[] Ids, string? Text, int NewTokens)
{
    /// <summary>Its images.</summary>
    public IReadOnlyList<PromptImage> Images { get; init; } = [];
}
