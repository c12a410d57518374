using XDeepServe.Alignment.Prompts;
using XDeepServe.FlowServe;

namespace XDeepServe.Alignment.Rewards;

/// <summary>Has an engine read something behind prompts, a bounded number at once: the scheduler batches them.</summary>
/// <param name="engine">Runs the model; stays the caller's.</param>
public sealed class PromptReader(IEngine engine) : IDisposable
{
    private readonly SemaphoreSlim room = new(Math.Max(1, engine.Options.MaxSequences));
    private long requests;

    /// <summary>Reads behind one prompt.</summary>
    /// <param name="prompt">As <see cref="PromptWriter"/> wrote it.</param>
    /// <param name="readout">What is read.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="InvalidRequestException">The prompt does not fit the model.</exception>
    /// <exception cref="InvalidOperationException">The engine failed or is shutting down.</exception>
    /// <exception cref="NotFiniteNumberException">The model computes values that are no numbers.</exception>
    public async Task<IReadOnlyList<float>> ReadAsync(WrittenPrompt prompt, Readout readout, CancellationToken cancel = default)
    {
        GenerationRequest request = Request(prompt) with { Readout = readout };
        return (await RunAsync(request, cancel).ConfigureAwait(false)).Values ?? throw Failed(request, null);
    }

    /// <summary>Reads behind token ids without images.</summary>
    /// <inheritdoc cref="ReadAsync(WrittenPrompt, Readout, CancellationToken)"/>
    public Task<IReadOnlyList<float>> ReadAsync(int[] prompt, Readout readout, CancellationToken cancel = default) => ReadAsync(new WrittenPrompt(prompt, []), readout, cancel);

    /// <summary>Log-probability of each token of a prompt but the first, given those before it.</summary>
    /// <exception cref="InvalidRequestException">The prompt does not fit the model.</exception>
    /// <exception cref="InvalidOperationException">The engine failed or is shutting down.</exception>
    /// <exception cref="NotFiniteNumberException">The model computes values that are no numbers.</exception>
    public async Task<IReadOnlyList<float>> LikelihoodAsync(WrittenPrompt prompt, CancellationToken cancel = default)
    {
        GenerationRequest request = Request(prompt);
        request = request with { Sampling = request.Sampling with { PromptLogprobs = 0 } };
        OutputDelta delta = await RunAsync(request, cancel).ConfigureAwait(false);
        float[] found = [.. (delta.PromptLogprobs ?? throw Failed(request, null)).Skip(1).Select(entry => entry!.Logprob)];
        return Array.TrueForAll(found, float.IsFinite) ? found : throw new NotFiniteNumberException(Readout.NoNumbers);
    }

    /// <inheritdoc/>
    public void Dispose() => room.Dispose();

    private GenerationRequest Request(WrittenPrompt prompt) => new()
    {
        Id = $"read-{Interlocked.Increment(ref requests)}",
        Prompt = prompt.Ids,
        Images = prompt.Images,
        Sampling = new SamplingParameters { MaxTokens = 1, Temperature = 0, Detokenize = false },
    };

    private async Task<OutputDelta> RunAsync(GenerationRequest request, CancellationToken cancel)
    {
        await room.WaitAsync(cancel).ConfigureAwait(false);
        try
        {
            using Generation generation = engine.Submit(request);
            OutputDelta? last = null;
            await foreach (OutputDelta delta in generation.WithCancellation(cancel).ConfigureAwait(false))
                last = delta;
            return last is { FinishReason: not ("error" or "abort") } ? last : throw Failed(request, generation.Failure);
        }
        finally
        {
            room.Release();
        }
    }

    private static Exception Failed(GenerationRequest request, Exception? cause) =>
        cause is NotFiniteNumberException ? new NotFiniteNumberException(cause.Message, cause) : new InvalidOperationException($"The engine gave up the request {request.Id}.", cause);
}
