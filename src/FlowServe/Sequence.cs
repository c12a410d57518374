using XDeepServe.Models.Images;

namespace XDeepServe.FlowServe;

/// <summary>
/// One choice of a request as the scheduler sees it: counts. Lengths run ahead of the tokens that the host knows by what is
/// still being computed. Belongs to one DP group's thread.
/// </summary>
public sealed class Sequence
{
    private readonly int[] tokens;  // [most tokens] prompt, then what was published
    private readonly int[] keys;    // [most tokens] the same, with images in place of their tokens; the same array without images
    private readonly int[] blocks;  // [most blocks]
    private int known;

    /// <summary>A sequence that waits.</summary>
    /// <param name="request">The request.</param>
    /// <param name="choice">Which of its choices.</param>
    /// <param name="maxNew">Most tokens to generate.</param>
    /// <param name="blockSize">Positions in a cache block.</param>
    public Sequence(GenerationRequest request, int choice, int maxNew, int blockSize)
    {
        Request = request;
        Choice = choice;
        MaxNew = maxNew;
        PromptLength = request.Prompt.Length;
        InitialLength = Length = known = PromptLength + request.Produced.Length;
        Limit = PromptLength + Math.Min(maxNew, request.Produced.Length + (request.HandOverAfter ?? maxNew));
        PromptDone = request.Produced.Length > 0;
        tokens = new int[PromptLength + maxNew];
        request.Prompt.CopyTo(tokens, 0);
        request.Produced.CopyTo(tokens, PromptLength);
        keys = request.Images.Count == 0 ? tokens : [.. tokens];
        foreach (PromptImage image in request.Images)
            for (int row = 0; row < image.Rows; row++)
                keys[image.Start + row] = image.Key(row);
        blocks = new int[(PromptLength + maxNew + blockSize - 1) / blockSize];
        SaltHash = CommittedHash = RadixIndex.SaltHash(request.CacheSalt);
    }

    /// <summary>The request.</summary>
    public GenerationRequest Request { get; }

    /// <summary>0 to n - 1.</summary>
    public int Choice { get; }

    /// <summary>Most tokens to generate.</summary>
    public int MaxNew { get; }

    /// <summary>Tokens of the prompt.</summary>
    public int PromptLength { get; }

    /// <summary>Tokens that it came with: the prompt, and what was generated elsewhere.</summary>
    public int InitialLength { get; }

    /// <summary>Tokens at which it stops here: at its end, or where it goes on elsewhere.</summary>
    public int Limit { get; }

    /// <summary>Tokens, those included that are being sampled.</summary>
    public int Length { get; internal set; }

    /// <summary>Positions whose keys and values are computed, or will be by the steps under way.</summary>
    public int Computed { get; internal set; }

    /// <summary>Tokens to compute before the next can be sampled; 0 when all the new ones are on their way.</summary>
    public int Wanted => Length < Limit ? Length - Computed : 0;

    /// <summary>Positions that were brought from elsewhere since its last step.</summary>
    public int Fetched { get; internal set; }

    /// <summary>Prompt tokens found in the prefix cache at first admission.</summary>
    public int CachedTokens { get; internal set; } = -1;

    /// <summary>Row of the token table on the device; -1 before admission.</summary>
    public int Slot { get; internal set; } = -1;

    /// <summary>Order of arrival.</summary>
    public long Arrival { get; internal set; }

    /// <summary>The choice that computes the prompt for this one; null if it does so itself.</summary>
    public Sequence? Leader { get; init; }

    /// <summary>Whether its tokens are in the table on the device.</summary>
    public bool OnDevice { get; internal set; }

    /// <summary>Whether the whole prompt has been computed once.</summary>
    public bool PromptDone { get; internal set; }

    /// <summary>Whether it has ended, however.</summary>
    public bool Finished { get; internal set; }

    /// <summary>The tokens it came with.</summary>
    public ReadOnlySpan<int> Initial => tokens.AsSpan(0, InitialLength);

    /// <summary>Whether tokens may be proposed for it. (Penalties look at the proposals before a row: these are what stands there if the row counts.)</summary>
    public bool MaySpeculate => Request.Readout is null;

    /// <summary>Tokens that a device has proposed behind its last one, or will have before the next step.</summary>
    public int Drafted { get; internal set; }

    /// <summary>Tokens that the host knows.</summary>
    public ReadOnlySpan<int> Known => tokens.AsSpan(0, known);

    /// <summary>What names the content of each known position where prefixes are compared: its token, or its place in an image.</summary>
    public ReadOnlySpan<int> Keys => keys.AsSpan(0, known);

    /// <summary>Tokens generated, here or before, that the host knows.</summary>
    public int Published => known - PromptLength;

    /// <summary>Cache blocks, in order of position.</summary>
    public ReadOnlySpan<int> Blocks => blocks.AsSpan(0, BlockCount);

    /// <summary>Number of cache blocks.</summary>
    public int BlockCount { get; private set; }

    /// <summary>Blocks that the prefix index knows.</summary>
    public int CommittedBlocks { get; internal set; }

    /// <summary>Whether cached positions may stand in for computing: not where every prompt position's logits are wanted.</summary>
    public bool MaySharePrefix => (Request.Sampling.PromptLogprobs is null || PromptDone || Choice > 0) && Request.Readout is not { IsMean: true };

    /// <summary>[hidden] sum of the positions' hidden states so far, where their mean is wanted. The executor's.</summary>
    internal double[]? HiddenSum { get; set; }

    /// <summary>Whether it has lost its cache once.</summary>
    internal bool Preempted { get; set; }

    internal ulong SaltHash { get; }

    internal ulong CommittedHash { get; set; }

    internal Submission? Submission { get; init; }

    internal OutputStage? Output { get; init; }

    /// <summary>Whether what its request's ticket names was asked for or given up.</summary>
    internal bool TicketUsed { get; set; }

    /// <summary>Where its keys and values are coming from; null unless it is arriving.</summary>
    internal IKvSupply? Supply { get; set; }

    internal long ArrivedAt { get; init; }

    internal long AdmittedAt { get; set; }

    internal ulong Seed { get; init; }

    internal long PlannedInStep { get; set; } = -1;

    /// <summary>Takes proposed tokens back that were not accepted.</summary>
    internal void Reject(int count)
    {
        Length -= count;
        Computed -= count;
    }

    internal void AddKnown(int token) => keys[known] = tokens[known++] = token;

    internal void AddBlock(int block) => blocks[BlockCount++] = block;

    internal void ReplaceBlock(int place, int block) => blocks[place] = block;

    /// <summary>Gives its blocks away.</summary>
    internal int[] DetachBlocks()
    {
        int[] given = Blocks.ToArray();
        ClearBlocks();
        return given;
    }

    internal void ClearBlocks()
    {
        BlockCount = CommittedBlocks = Computed = Fetched = Drafted = 0;
        CommittedHash = SaltHash;
    }
}
