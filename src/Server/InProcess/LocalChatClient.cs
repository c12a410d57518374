using System.Runtime.CompilerServices;
using Microsoft.Extensions.AI;
using XDeepServe.Alignment.Prompts;
using XDeepServe.FlowServe;

namespace XDeepServe.Server.InProcess;

/// <summary>
/// A chat client on an engine in this process. What would change the answer and is not supported (tools, constrained formats, content other than
/// text) is refused. Sampling values that the options leave out are the model's own.
/// </summary>
/// <param name="engine">The engine; stays the caller's.</param>
public sealed class LocalChatClient(LocalEngine engine) : IChatClient
{
    private readonly ChatClientMetadata _metadata = new("xdeepserve", null, engine.Name);

    /// <inheritdoc/>
    /// <exception cref="NotSupportedException">The options or messages ask for what is not supported.</exception>
    /// <exception cref="InvalidRequestException">The prompt does not fit the model, or a sampling value is out of range.</exception>
    /// <exception cref="QueueFullException">Too many requests wait.</exception>
    public Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
        GetStreamingResponseAsync(messages, options, cancellationToken).ToChatResponseAsync(cancellationToken);

    /// <inheritdoc/>
    /// <exception cref="NotSupportedException">The options or messages ask for what is not supported.</exception>
    /// <exception cref="InvalidRequestException">The prompt does not fit the model, or a sampling value is out of range.</exception>
    /// <exception cref="QueueFullException">Too many requests wait.</exception>
    public async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        string id = $"chatcmpl-{Guid.NewGuid():N}";
        DateTimeOffset now = DateTimeOffset.UtcNow;
        using Generation generation = engine.Engine.Submit(Request(id, messages, options));
        await foreach (OutputDelta delta in generation.WithCancellation(cancellationToken).ConfigureAwait(false))
        {
            if (delta.FinishReason is "error" or "abort")
            {
                throw new InvalidOperationException($"The engine gave up the request {id}.", generation.Failure);
            }
            ChatResponseUpdate update = new(ChatRole.Assistant, delta.Text)
            {
                ResponseId = id,
                MessageId = id,
                ModelId = engine.Name,
                CreatedAt = now,
                RawRepresentation = delta,
            };
            if (delta.FinishReason is { } reason)
            {
                update.FinishReason = reason == "length" ? ChatFinishReason.Length : ChatFinishReason.Stop;
                update.Contents.Add(new UsageContent(new UsageDetails
                {
                    InputTokenCount = delta.PromptTokens,
                    CachedInputTokenCount = delta.CachedTokens,
                    OutputTokenCount = delta.CompletionTokens,
                    TotalTokenCount = delta.PromptTokens + delta.CompletionTokens,
                }));
            }
            yield return update;
        }
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null) =>
        serviceKey is not null ? null
        : serviceType == typeof(ChatClientMetadata) ? _metadata
        : serviceType.IsInstanceOfType(this) ? this
        : serviceType.IsInstanceOfType(engine) ? engine : null;

    /// <summary>Nothing: the engine is the caller's.</summary>
    public void Dispose()
    {
    }

    private GenerationRequest Request(string id, IEnumerable<ChatMessage> messages, ChatOptions? options)
    {
        List<Message> turns = options?.Instructions is { Length: > 0 } instructions ? [new Message("system", instructions)] : [];
        turns.AddRange(messages.Select(Turn));
        if (turns.Count == 0)
        {
            throw new InvalidRequestException("There is no message to answer.", "messages");
        }
        return new GenerationRequest { Id = id, Prompt = engine.Writer.Encode(turns, opensAnswer: true), Sampling = Sampling(options ?? new ChatOptions()) };
    }

    private static Message Turn(ChatMessage message)
    {
        foreach (AIContent content in message.Contents)
        {
            if (content is not (TextContent or UsageContent))
            {
                throw new NotSupportedException($"Messages may hold text alone, not {content.GetType().Name}.");
            }
        }
        return new Message(message.Role.Value, message.Text);
    }

    private SamplingParameters Sampling(ChatOptions options)
    {
        if (options.Tools is { Count: > 0 } || options.ResponseFormat is not (null or ChatResponseFormatText))
        {
            throw new NotSupportedException("Tools and constrained formats are not supported.");
        }
        return new SamplingParameters
        {
            MaxTokens = options.MaxOutputTokens ?? engine.Defaults.MaxTokens,
            Temperature = options.Temperature ?? engine.Defaults.Temperature,
            TopP = options.TopP ?? engine.Defaults.TopP,
            TopK = options.TopK ?? engine.Defaults.TopK,
            MinP = engine.Defaults.MinP,
            RepetitionPenalty = engine.Defaults.RepetitionPenalty,
            FrequencyPenalty = options.FrequencyPenalty ?? 0,
            PresencePenalty = options.PresencePenalty ?? 0,
            Seed = options.Seed,
            Stop = [.. options.StopSequences ?? []],
        };
    }
}
