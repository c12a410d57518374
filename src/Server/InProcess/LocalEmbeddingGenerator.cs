using Microsoft.Extensions.AI;
using XDeepServe.FlowServe;
using XDeepServe.Server.Responses;

namespace XDeepServe.Server.InProcess;

/// <summary>Embeddings by an engine in this process: the last hidden state of each text, scaled to length 1, as <c>/v1/embeddings</c> answers.</summary>
/// <param name="engine">The engine; stays the caller's.</param>
public sealed class LocalEmbeddingGenerator(LocalEngine engine) : IEmbeddingGenerator<string, Embedding<float>>
{
    private readonly EmbeddingGeneratorMetadata _metadata = new("xdeepserve", null, engine.Name, engine.HiddenSize);

    /// <inheritdoc/>
    /// <exception cref="NotSupportedException">Another number of dimensions than the model's is asked for.</exception>
    /// <exception cref="InvalidRequestException">A text is empty or does not fit the model.</exception>
    public async Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        if (options?.Dimensions is { } dimensions && dimensions != engine.HiddenSize)
        {
            throw new NotSupportedException($"This model's embeddings have {engine.HiddenSize} values and cannot be cut short.");
        }
        int[][] prompts = [.. values.Select(text => engine.Writer.Tokenizer.Encode(text, addSpecialTokens: true))];
        IReadOnlyList<float>[] states = await Task.WhenAll(prompts.Select(prompt => engine.Reader.ReadAsync(prompt, Readout.LastHidden, cancellationToken))).ConfigureAwait(false);
        long tokens = prompts.Sum(prompt => (long)prompt.Length);
        return new GeneratedEmbeddings<Embedding<float>>(states.Select(state => new Embedding<float>(Activation.Unit(state)) { ModelId = engine.Name, CreatedAt = DateTimeOffset.UtcNow }))
        {
            Usage = new UsageDetails { InputTokenCount = tokens, TotalTokenCount = tokens },
        };
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null) =>
        serviceKey is not null ? null
        : serviceType == typeof(EmbeddingGeneratorMetadata) ? _metadata
        : serviceType.IsInstanceOfType(this) ? this
        : serviceType.IsInstanceOfType(engine) ? engine : null;

    /// <summary>Nothing: the engine is the caller's.</summary>
    public void Dispose()
    {
    }
}
