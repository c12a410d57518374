using XDeepServe.Kernels;
using XDeepServe.Models;

namespace XDeepServe.FlowServe.Speculating;

/// <summary>
/// Proposes tokens that the model then verifies in one step, all at once (paper §4.6). The model samples behind every proposal
/// with the draw it would have used without them, and proposals stand as far as they equal what was sampled: whatever is proposed,
/// the output is the model's own, token for token. (For a proposal that is certain this is rejection sampling: it is kept with the
/// probability that the model gives it, and what replaces it has the model's distribution without it.)
/// </summary>
internal abstract class Speculation(int tokens) : IDisposable
{
    /// <summary>Tokens proposed at once.</summary>
    public int Tokens => tokens;

    /// <summary>Whether <see cref="Draft"/> proposes, into the token table; else <see cref="Propose"/> does.</summary>
    public abstract bool OnDevice { get; }

    /// <summary>Proposes what follows the known tokens. The DP group's thread.</summary>
    /// <param name="known">The sequence's tokens.</param>
    /// <param name="proposed">Receives at most <see cref="Tokens"/> tokens.</param>
    /// <returns>How many; may be 0.</returns>
    public virtual int Propose(ReadOnlySpan<int> known, Span<int> proposed) => 0;

    /// <summary>Behind a step whose results the host knows: writes proposals behind the sequences' tokens. The executor's thread.</summary>
    /// <param name="plan">The step, with results.</param>
    /// <param name="tokenTable">I32 <c>[slots, tokens]</c>: the tokens of all sequences.</param>
    /// <param name="workspace">The buffers of the step, whose hidden states are still there.</param>
    public virtual void Draft(StepPlan plan, Tensor tokenTable, Workspace workspace)
    {
    }

    /// <summary>Makes what the options ask for; null if they ask for nothing.</summary>
    public static Speculation? Create(EngineOptions options, Model model, Backend backend, KvCache cache) => options.Speculation is not { } asked ? null : asked.Method switch
    {
        SpeculationMethod.PromptLookup => new PromptLookup(asked.Tokens, asked.LookupLeast, asked.LookupMost),
        SpeculationMethod.DraftModel => new ModelDrafter(asked.Tokens, asked.DraftModel!, backend, options, cache.Blocks),
        _ => new ModuleDrafter(asked.Tokens, model, backend, options, cache),
    };

    /// <inheritdoc/>
    public virtual void Dispose()
    {
    }
}
