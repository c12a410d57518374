using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Logging;
using XDeepServe.FlowServe;
using XDeepServe.Models.Images;
using XDeepServe.Server.Http;
using XDeepServe.Server.Requests;
using XDeepServe.Server.Responses;

namespace XDeepServe.Server.Routes;

/// <summary><c>/v1/chat/completions</c> and <c>/v1/completions</c>.</summary>
internal sealed class GenerateRoutes(ServerState state, ErrorGate errors, ILogger log)
{
    /// <summary>Adds the routes.</summary>
    public void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPost("/v1/chat/completions", (RequestDelegate)ChatAsync);
        routes.MapPost("/v1/completions", (RequestDelegate)CompleteAsync);
    }

    private async Task ChatAsync(HttpContext context)
    {
        LoadedModel model = state.Require();
        (Job job, string? echo, ChatPrompt prompt) = await ReadChatAsync(context, model);
        List<Generation> generations = job.Submit();
        if (job.Common.Stream)
        {
            await new ChatStream(job, errors, echo, state.Hurry.Token).RunAsync(context, generations);
            return;
        }
        AnswerCollection answer = new(job);
        await answer.ReadAsync(generations, context.RequestAborted, state.Hurry.Token);
        IReadOnlyList<int> kept = [.. Enumerable.Range(0, answer.Choices.Length)];
        if (job.Common.Best is { } best)
        {
            using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, state.Hurry.Token);
            kept = await BestAnswers.PickAsync(model.Served.Rewards!, prompt, answer, best, stop.Token);
        }
        await JsonAnswer.SendAsync(context, 200, new ChatAnswer(job, answer, echo, kept).Write);
    }

    private async Task CompleteAsync(HttpContext context)
    {
        LoadedModel model = state.Require();
        (Job job, EchoedPrompt? echo) = await ReadCompletionAsync(context, model);
        List<Generation> generations = job.Submit();
        if (job.Common.Stream)
        {
            await new TextStream(job, errors, echo, state.Hurry.Token).RunAsync(context, generations);
            return;
        }
        AnswerCollection answer = new(job);
        await answer.ReadAsync(generations, context.RequestAborted, state.Hurry.Token);
        await JsonAnswer.SendAsync(context, 200, new TextAnswer(job, answer, echo).Write);
    }

    // The body's JSON is let go before the answer starts.
    private async Task<(Job Job, string? Echo, ChatPrompt Prompt)> ReadChatAsync(HttpContext context, LoadedModel model)
    {
        using JsonDocument body = await RequestBody.ReadAsync(context, state.Options.MaxBodyBytes);
        JsonFields fields = new(body.RootElement);
        string name = state.ModelName(fields.String("model"));
        ChatRequest request = ChatRequest.Read(fields, model, state.Options);
        LogUnknown(context, fields);
        if (request.Common.Best is not null)
        {
            BestAnswers.Check(request.Prompt, model.Served);
        }
        string text = request.Prompt.Render(model.Served);
        PromptBounds bounds = new(model.Served, request.Common, "messages");
        if (request.Prompt.Images.Count > 0 && request.Common.TruncatePrompt is not null)
        {
            throw ApiException.BadRequest("'truncate_prompt_tokens' could cut an image; leave it out of requests with images.", "truncate_prompt_tokens");
        }
        (int[] ids, PromptImage[] images) = request.Prompt.Place(bounds.Encode(request.Prompt, text), model.Served);
        ids = bounds.Check(ids);
        Job job = CreateJob(context, model, name, request.Common, "chatcmpl-", "messages");
        job.Prompts.Add(new Prompt(ids, text, bounds.NewTokens(ids.Length, model.Defaults.MaxTokens)) { Images = images });
        bool fromAssistant = (string?)request.Prompt.Messages[^1]!["role"] == "assistant";
        return (job, request.Echo && fromAssistant ? ImageInput.Text(request.Prompt.Messages[^1]!["content"]!, null) : null, request.Prompt);
    }

    private async Task<(Job Job, EchoedPrompt? Echo)> ReadCompletionAsync(HttpContext context, LoadedModel model)
    {
        using JsonDocument body = await RequestBody.ReadAsync(context, state.Options.MaxBodyBytes);
        JsonFields fields = new(body.RootElement);
        string name = state.ModelName(fields.String("model"));
        CompletionRequest request = CompletionRequest.Read(fields, model, state.Options);
        if (request.Common.Best is not null)
        {
            throw ApiException.BadRequest("'best_of' greater than 'n' compares answers to a conversation; use /v1/chat/completions.", "best_of");
        }
        LogUnknown(context, fields);
        EngineOptions engine = model.Served.Engine.Options;
        int most = engine.QueueLimit + engine.MaxSequences;
        if (request.Prompts.Count > most)
        {
            throw ApiException.BadRequest($"'prompt' holds {request.Prompts.Count} prompts, but at most {most} requests can run and wait; send fewer at once.", "prompt");
        }
        Job job = CreateJob(context, model, name, request.Common, "cmpl-", "prompt");
        PromptBounds bounds = new(model.Served, request.Common, "prompt");
        foreach (GivenPrompt given in request.Prompts)
        {
            int[] ids = given.Text is { } text ? bounds.Encode(text, request.AddSpecialTokens) : bounds.Check(given.Ids!);
            // The engine computes a prompt to draw a token; where only the prompt is wanted, that token is left out.
            int newTokens = request.OnlyEcho ? 1 : bounds.NewTokens(ids.Length, request.DefaultLength);
            job.Prompts.Add(new Prompt(ids, given.Text, newTokens));
        }
        return (job, request.Echo ? new EchoedPrompt(model.Served.Tokenizer, request.OnlyEcho) : null);
    }

    private Job CreateJob(HttpContext context, LoadedModel model, string name, CommonFields common, string prefix, string promptField) =>
        new(common, model, name, prefix + (common.RequestId ?? context.TraceIdentifier), state.Now, promptField);

    private void LogUnknown(HttpContext context, JsonFields fields)
    {
        if (log.IsEnabled(LogLevel.Debug) && fields.Unknown() is { Count: > 0 } unknown)
        {
            log.LogDebug("{Id}: ignored the unknown fields {Fields}.", context.TraceIdentifier, string.Join(", ", unknown));
        }
    }
}
