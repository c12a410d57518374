using XDeepServe.FlowServe.Balancing;
using XDeepServe.Models;
using XDeepServe.Xccl.Tokens;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>Where shared experts are, which every token passes.</summary>
public enum SharedPlacement
{
    /// <summary>On every rank with attention, for its own tokens: computed while rows are away.</summary>
    Attention,

    /// <summary>On every rank with experts (paper §5.2): one more expert of each token, with a copy wherever routed ones are.</summary>
    Experts,
}

/// <summary>How ranks share experts; the same on all ranks.</summary>
public sealed record MixtureOptions
{
    /// <summary>Names the ranks' groups on this host: letters, digits and underscores.</summary>
    public required string Name { get; init; }

    /// <summary>Micro-batches of a step, so that one's attention hides the other's exchange: 1, 2, or 0 to go by measured times.</summary>
    public int MicroBatches { get; init; }

    /// <summary>Most rows that a rank gives away at once; a step with more goes in rounds.</summary>
    public int MaxTokens { get; init; } = 128;

    /// <summary>Slots of each rank beside those for its own experts: for copies of busy ones.</summary>
    public int Redundant { get; init; }

    /// <summary>Where shared experts are.</summary>
    public SharedPlacement SharedExperts { get; init; }

    /// <summary>How copies follow the load while serving; null to leave experts where they are. Its ranks, slots and groups are not looked at: they follow from who is there and from the model.</summary>
    public BalancerOptions? Balancing { get; init; }

    /// <summary>This rank was started again: it asks the others to take it back, instead of starting with them.</summary>
    public bool Rejoin { get; init; }

    /// <summary>Time between two beats, at which ranks tell each other how they fare.</summary>
    public TimeSpan Beat { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Makes this rank slow on purpose, to see that it is found: added to each step of attention, or to each batch of experts.</summary>
    public TimeSpan Lag { get; init; }

    /// <summary>Gets lines for the log, on a thread of the rank's; null for nobody.</summary>
    public Action<string>? Log { get; init; }

    /// <summary>Attention ranks of a domain talk to one expert rank each, which passes rows on (paper §3.3); false to talk to all of them.</summary>
    public bool Trampolines { get; init; } = true;

    /// <summary>Rows on their way to the experts. F32 keeps every bit.</summary>
    public WireType DispatchWire { get; init; } = WireType.F32;

    /// <summary>Rows on their way back.</summary>
    public WireType CombineWire { get; init; } = WireType.F32;

    /// <summary>What waits do. A rank that spins does so even without work.</summary>
    public WaitStrategy Strategy { get; init; } = WaitStrategy.Block;

    /// <summary>How long a rank waits for one that lives but does not answer.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long a step waits for experts to come back when none are left, before it ends with an error; later ones do not wait.</summary>
    public TimeSpan ReturnPatience { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long a rank waits for the others to start, or to go on without one that is gone.</summary>
    public TimeSpan JoinTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Settings for a model, whose router says which experts belong together; in one without groups each expert is one. A model without shared experts has them nowhere.</summary>
    /// <param name="config">The model.</param>
    /// <param name="ranks">Ranks with experts.</param>
    /// <exception cref="ArgumentException">The model has no experts, or they cannot be balanced so; says what to do.</exception>
    public MixtureOptions For(ModelConfig config, int ranks)
    {
        if (config.Experts is not { } experts)
            throw new ArgumentException("The model has no experts that workers could share. Serve it colocated.");
        BalancerOptions? balancing = Balancing is null ? null : Balancing with { Ranks = ranks, Groups = experts.Rule.Groups > 1 ? experts.Rule.Groups : experts.Count };
        balancing?.Validate(experts.Count);
        return this with { Balancing = balancing, SharedExperts = experts.Shared > 0 ? SharedExperts : SharedPlacement.Attention };
    }

    /// <summary>Whether rows go to the shared experts through the exchange.</summary>
    internal bool SharedApart => SharedExperts == SharedPlacement.Experts;
}
