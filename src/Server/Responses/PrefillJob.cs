using Microsoft.AspNetCore.Http;
using XDeepServe.FlowServe;
using XDeepServe.Server.Http;
using XDeepServe.Server.Requests;

namespace XDeepServe.Server.Responses;

/// <summary>Prompts behind each of which something is read; nothing is generated.</summary>
internal sealed class PrefillJob(ServerState state, LoadedModel model, JsonFields fields, string idPrefix, string promptField)
{
    private readonly CommonFields _common = CommonFields.ReadForPrefill(fields);
    private readonly List<Prompt> _prompts = [];

    /// <summary>The model as the request named it.</summary>
    public string ModelName { get; } = state.ModelName(fields.String("model"));

    /// <summary>The model.</summary>
    public ServedModel Served => model.Served;

    /// <summary>Id of the answer.</summary>
    public string Id { get; private set; } = "";

    /// <summary>Seconds since 1970.</summary>
    public long Created { get; } = state.Now;

    /// <summary>Token counts of the prompts.</summary>
    public Usage Usage { get; private set; } = new(0, 1);

    /// <summary>Makes ids of a text; keeps so many of them, the first, or all.</summary>
    public int[] Encode(string text, bool addSpecialTokens, int? first = null) => Bounds.Encode(text, addSpecialTokens, first);

    /// <summary>Adds a prompt given as text or ids.</summary>
    public void Add(GivenPrompt given) =>
        _prompts.Add(new Prompt(given.Text is { } text ? Bounds.Encode(text, addSpecialTokens: true) : Bounds.Check(given.Ids!), given.Text, 1));

    /// <summary>Adds a prompt given as ids that fit.</summary>
    public void Add(int[] ids) => _prompts.Add(new Prompt(Bounds.Check(ids), null, 1));

    /// <summary>Adds a conversation with its images.</summary>
    public void Add(ChatPrompt chat)
    {
        (int[] ids, Models.Images.PromptImage[] images) = chat.Place(Bounds.Encode(chat, chat.Render(Served)), Served);
        _prompts.Add(new Prompt(Bounds.Check(ids), null, 1) { Images = images });
    }

    /// <summary>Adds what <c>input</c> (texts or ids) or <c>messages</c> hold.</summary>
    public void AddInput()
    {
        if (fields.Find("messages") is null)
        {
            GivenPrompt.ReadAll(fields, "input").ForEach(Add);
            return;
        }
        AddConversations();
    }

    /// <summary>Adds the conversations that <c>messages</c> holds: one, or a list of them.</summary>
    public void AddConversations()
    {
        // What is scored is a whole conversation; another turn is opened only if the client says so.
        bool opens = fields.Boolean("add_generation_prompt") ?? false;
        foreach (ChatPrompt chat in ChatPrompt.ReadAll(fields, Served, state.Options))
        {
            Add(chat with { AddGenerationPrompt = opens });
        }
    }

    /// <summary>Reads behind every prompt.</summary>
    /// <returns>One list of values for each prompt.</returns>
    public async Task<List<IReadOnlyList<float>>> RunAsync(HttpContext context, Readout readout)
    {
        EngineOptions engine = Served.Engine.Options;
        int most = engine.QueueLimit + engine.MaxSequences;
        if (_prompts.Count > most)
        {
            throw ApiException.BadRequest($"'{promptField}' makes {_prompts.Count} prompts, but at most {most} can run and wait; send fewer at once.", promptField);
        }
        Job job = new(_common, model, ModelName, idPrefix + (_common.RequestId ?? context.TraceIdentifier), Created, promptField) { Readout = readout };
        Id = job.Id;
        job.Prompts.AddRange(_prompts);
        AnswerCollection answer = new(job);
        await answer.ReadAsync(job.Submit(), context.RequestAborted, state.Hurry.Token);
        Usage = answer.Usage;
        return [.. answer.Choices.Select(choice => choice.Values ?? throw new ApiException(503, "The server is shutting down; the request was given up.", null, TimeSpan.FromSeconds(5)))];
    }

    private PromptBounds Bounds => new(Served, _common, promptField);
}
