using XDeepServe.FlowServe.Speculating;
using XDeepServe.FlowServe.Tiers;
using XDeepServe.Kernels;
using XDeepServe.Models;

namespace XDeepServe.FlowServe;

/// <summary>Settings of the engine.</summary>
public sealed record EngineOptions
{
    /// <summary>Most tokens of a prompt and its continuation.</summary>
    public required int MaxModelLength { get; init; }

    /// <summary>Most sequences that run at once.</summary>
    public int MaxSequences { get; init; } = 64;

    /// <summary>Most tokens of a step.</summary>
    public int MaxBatchedTokens { get; init; } = 512;

    /// <summary>Positions in a cache block.</summary>
    public int BlockSize { get; init; } = 16;

    /// <summary>Memory for the cache; 0 for as much as <see cref="MaxSequences"/> sequences of full length need, <see cref="Kernels.Backend.CacheLimit"/> at most.</summary>
    public long KvCacheBytes { get; init; }

    /// <summary>Number of cache blocks, instead of <see cref="KvCacheBytes"/>.</summary>
    public int? NumBlocksOverride { get; init; }

    /// <summary>Keep the cache of finished requests for others with the same beginning.</summary>
    public bool PrefixCaching { get; init; } = true;

    /// <summary>Cut prompts into pieces that fit beside others.</summary>
    public bool ChunkedPrefill { get; init; } = true;

    /// <summary>Tokens to compute from which a prompt is long: where it can be helped, long and short ones share no DP group (paper §5.1).</summary>
    public int LongPrompt { get; init; } = 2048;

    /// <summary>Whether a leader at DP 0 assigns prompts to DP groups by what they cost, as where prompts are all there is to do (paper §4.3); else requests go where the cache is emptiest.</summary>
    public bool LeadPrefill { get; init; }

    /// <summary>Most requests that wait.</summary>
    public int QueueLimit { get; init; } = 512;

    /// <summary>Names the random streams of requests without a seed.</summary>
    public long Seed { get; init; }

    /// <summary>Most log-probabilities per token.</summary>
    public int MaxLogprobs { get; init; } = 20;

    /// <summary>Speculative decoding; null for none.</summary>
    public SpeculationOptions? Speculation { get; init; }

    /// <summary>Most tokens that one sequence samples in a step.</summary>
    public int SamplesPerSequence => 1 + (Speculation?.Tokens ?? 0);

    /// <summary>How long the cache of a request that goes on elsewhere is held for whoever fetches it.</summary>
    public TimeSpan HoldLease { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Where cache blocks go that the device has no room for; null for nowhere.</summary>
    public TierOptions? Tiers { get; init; }

    /// <summary>Steps between two garbage collections, automatic collection being held off (paper §4.4); 0 leaves it to the runtime. Of the whole process: one engine alone may ask for it.</summary>
    public int CollectionInterval { get; init; }

    /// <summary>Bytes that may be allocated between two of them before automatic collection comes back.</summary>
    public long CollectionBudget { get; init; } = 64L << 20;

    /// <summary>Checks the values against each other.</summary>
    /// <exception cref="ArgumentException">A value cannot work; says which.</exception>
    public void Validate()
    {
        Require(MaxModelLength >= 2, "The longest sequence must have at least 2 tokens (--max-model-len).");
        Require(MaxSequences is >= 1 and <= 4096, "Between 1 and 4096 sequences can run at once (--max-num-seqs).");
        Require(BlockSize is >= 1 and <= 256 && 256 % BlockSize == 0, "A cache block must hold 1, 2, 4, … 256 positions (--block-size).");
        Require(MaxBatchedTokens >= MaxSequences, $"A step of {MaxBatchedTokens} tokens (--max-num-batched-tokens) must hold one of each of the {MaxSequences} sequences (--max-num-seqs).");
        Require(MaxBatchedTokens / SamplesPerSequence >= MaxSequences, $"A step of {MaxBatchedTokens} tokens (--max-num-batched-tokens) must hold {SamplesPerSequence} of each of the {MaxSequences} sequences (--max-num-seqs) with that many proposals.");
        Require(ChunkedPrefill || MaxBatchedTokens >= MaxModelLength, $"Without chunked prefill a step (--max-num-batched-tokens {MaxBatchedTokens}) must hold a whole prompt (--max-model-len {MaxModelLength}).");
        Require(LongPrompt >= 1, "A prompt is long from some number of tokens on, at least 1 (--long-prefill-token-threshold).");
        Require(QueueLimit >= 1, "At least one request must be able to wait (--max-queued-requests).");
        Require(MaxLogprobs is >= 0 and <= 1000, "Between 0 and 1000 log-probabilities per token can be kept (--max-logprobs).");
        Require(Tiers is null || PrefixCaching, "Cache blocks are kept in host memory or on disk for prefixes to be found again (--kv-offloading-size, --disk-cache): leave --no-enable-prefix-caching out.");
        Tiers?.Validate();
        Require(CollectionInterval >= 0, "Garbage is collected every few hundred steps, or by the runtime: 0 (--gc-interval).");
        Require(NumBlocksOverride is null or >= 1, "At least one cache block is needed (--num-gpu-blocks-override).");
    }

    /// <summary>Cache blocks of a DP group.</summary>
    internal int BlocksFor(Model model, Backend backend)
    {
        if (NumBlocksOverride is { } blocks)
            return blocks;
        long perBlock = KvCache.BytesPerBlock(model.Cache, BlockSize);
        long perSequence = (MaxModelLength + BlockSize - 1) / BlockSize;
        long count = KvCacheBytes > 0
            ? KvCacheBytes / perBlock
            : Math.Max(perSequence, Math.Min(perSequence * MaxSequences, backend.CacheLimit / perBlock));
        if (count < 1)
            throw new ArgumentException($"A cache of {KvCacheBytes} bytes holds no block of {perBlock}; give it more memory.");
        return (int)Math.Min(count, int.MaxValue / BlockSize);
    }

    private static void Require(bool holds, string message)
    {
        if (!holds)
            throw new ArgumentException(message);
    }
}
