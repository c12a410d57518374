using System.Diagnostics;
using XDeepServe.Kernels;
using XDeepServe.Models;
using XDeepServe.Models.Images;
using XDeepServe.Models.Text;

namespace XDeepServe.FlowServe;

/// <summary>
/// The front of a Task Executor (paper §4.1): checks requests, hands them to DP groups, drains. Everything else is the groups'.
/// Any thread. Owns neither model nor backend; both must outlive it.
/// </summary>
public sealed class TeShell : IDisposable
{
    private readonly Model model;
    private readonly Tokenizer? tokenizer;
    private readonly DpGroup group;
    private int queued; // requests that have not ended
    private long submitted;
    private long rejections;
    private volatile bool draining;

    /// <summary>Starts an engine.</summary>
    /// <param name="model">The model.</param>
    /// <param name="backend">Runs it.</param>
    /// <param name="tokenizer">Makes text; null to serve ids only.</param>
    /// <param name="options">Settings.</param>
    /// <exception cref="ArgumentException">The settings cannot work together.</exception>
    public TeShell(Model model, Backend backend, Tokenizer? tokenizer, EngineOptions options)
        : this(model, backend, tokenizer, options, threaded: true)
    {
    }

    internal TeShell(Model model, Backend backend, Tokenizer? tokenizer, EngineOptions options, bool threaded)
    {
        options.Validate();
        if (options.MaxModelLength > model.MaxLength)
            throw new ArgumentException($"The model was loaded for {model.MaxLength} tokens; the engine cannot serve {options.MaxModelLength}.");
        (this.model, this.tokenizer, Options) = (model, tokenizer, options);
        group = new DpGroup(model, backend, options, model.Config.EosIds, threaded);
    }

    /// <summary>Settings.</summary>
    public EngineOptions Options { get; }

    /// <summary>What the engine has done.</summary>
    public EngineMetrics Metrics => group.Metrics;

    /// <summary>Cache blocks.</summary>
    public int CacheBlocks => group.Blocks;

    /// <summary>Bytes of the key-value cache.</summary>
    public long CacheBytes => group.CacheBytes;

    /// <summary>Requests refused because too many waited.</summary>
    public long Rejections => Interlocked.Read(ref rejections);

    /// <summary>Requests that have not ended.</summary>
    public int Unfinished => Volatile.Read(ref queued);

    internal DpGroup Group => group;

    /// <summary>Takes a request in.</summary>
    /// <exception cref="InvalidRequestException">It can never be served as it is.</exception>
    /// <exception cref="QueueFullException">Too many requests wait.</exception>
    public Generation Submit(GenerationRequest request)
    {
        SamplingParameters sampling = request.Sampling;
        sampling.Validate(model.Config.VocabularySize, Options.MaxLogprobs);
        int maxNew = CheckLength(request);
        foreach (int id in request.Prompt)
            if ((uint)id >= (uint)model.Config.VocabularySize)
                throw new InvalidRequestException($"The prompt holds token {id}; the vocabulary has {model.Config.VocabularySize}.", "prompt");
        CheckImages(request);
        if (draining || Interlocked.Increment(ref queued) > Options.QueueLimit + Options.MaxSequences)
        {
            if (!draining)
                Interlocked.Decrement(ref queued);
            Interlocked.Increment(ref rejections);
            throw new QueueFullException(Options.QueueLimit, TimeSpan.FromSeconds(1));
        }
        Generation generation = new(request, group.Abort, () => Interlocked.Decrement(ref queued));
        long number = Interlocked.Increment(ref submitted), now = Stopwatch.GetTimestamp();
        generation.Sequences = new Sequence[sampling.N];
        for (int choice = 0; choice < sampling.N; choice++)
        {
            generation.Sequences[choice] = new Sequence(request, choice, maxNew, Options.BlockSize)
            {
                Leader = choice == 0 ? null : generation.Sequences[0],
                Output = new OutputStage(generation, sampling, tokenizer, model.Config.EosIds, choice, maxNew),
                ArrivedAt = now,
                Seed = SeedOf(sampling, number, choice),
            };
        }
        Metrics.Accept(request.Prompt.Length, sampling.MaxTokens, sampling.N);
        group.Submit(generation);
        return generation;
    }

    /// <summary>Refuses new requests and waits for those that run.</summary>
    /// <param name="patience">Time after which what still runs is left to <see cref="Dispose"/>, which aborts it.</param>
    /// <returns>Whether all requests ended.</returns>
    public async Task<bool> DrainAsync(TimeSpan patience)
    {
        draining = true;
        long start = Stopwatch.GetTimestamp();
        while (Unfinished > 0 && Stopwatch.GetElapsedTime(start) < patience)
            await Task.Delay(10).ConfigureAwait(false);
        return Unfinished == 0;
    }

    /// <summary>Forgets all cached prefixes.</summary>
    /// <returns>False, with nothing changed, while requests run.</returns>
    public Task<bool> ResetPrefixCacheAsync() => group.ResetPrefixCache();

    /// <inheritdoc/>
    public void Dispose()
    {
        draining = true;
        group.Dispose();
    }

    private int CheckLength(GenerationRequest request)
    {
        int length = request.Prompt.Length;
        if (length == 0)
            throw new InvalidRequestException("The prompt is empty; it must have at least one token.", "prompt");
        if (length >= Options.MaxModelLength)
            throw new InvalidRequestException($"The prompt has {length} tokens, but the longest context is {Options.MaxModelLength}, of which at least one must be left for the answer. Shorten the prompt.", "prompt");
        int room = Options.MaxModelLength - length;
        if (request.Sampling.MaxTokens > room)
            throw new InvalidRequestException($"The prompt has {length} tokens and max_tokens is {request.Sampling.MaxTokens}, but the longest context is {Options.MaxModelLength}. Ask for at most {room}.", "max_tokens");
        int maxNew = request.Sampling.MaxTokens ?? room;
        if ((length + maxNew - 1 + Options.BlockSize - 1) / Options.BlockSize > group.Blocks)
            throw new InvalidRequestException($"The prompt has {length} tokens and up to {maxNew} are to follow, but the key-value cache holds {group.Blocks * Options.BlockSize} positions. Ask for fewer, or give the cache more memory.", "max_tokens");
        return maxNew;
    }

    private void CheckImages(GenerationRequest request)
    {
        if (request.Images.Count > 0 && model.Config.Images is null)
            throw new InvalidRequestException("This model takes text only; leave the images out.", "prompt");
        int from = 0;
        foreach (PromptImage image in request.Images)
        {
            ImageConfig shape = model.Config.Images!;
            if (image.Start < from || image.End > request.Prompt.Length || image.Rows != shape.Rows || image.Pixels.Length != shape.Pixels)
                throw new InvalidRequestException($"An image must take {shape.Rows} tokens of the prompt, not shared with others, and have {shape.Pixels} values.", "prompt");
            from = image.End;
        }
    }

    private ulong SeedOf(SamplingParameters sampling, long number, int choice)
    {
        ulong seed = sampling.Seed is { } given ? (ulong)given : (ulong)Options.Seed * 0x9E3779B97F4A7C15UL + (ulong)number;
        return seed + (ulong)choice * 0xD1B54A32D192ED03UL;
    }
}
