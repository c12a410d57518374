using XDeepServe.Kernels;

namespace XDeepServe.Models;

/// <summary>All buffers of a step, made once. Made by <see cref="Model.CreateWorkspace"/>; one step uses it at a time.</summary>
public sealed class Workspace : IDisposable
{
    private readonly Arena arena;

    internal Workspace(Backend backend, int hiddenSize, int maxTokens, int maxLogitRows, long scratchBytes, bool drafts = false, bool halves = false)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(maxTokens);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(maxLogitRows);
        Backend = backend;
        MaxTokens = maxTokens;
        MaxLogitRows = maxLogitRows;
        long stream = Arena.BytesFor(ElementType.F32, maxTokens, hiddenSize);
        long picked = Arena.BytesFor(ElementType.F32, maxLogitRows, hiddenSize);
        arena = backend.CreateArena(((drafts ? 6 : 3) * stream) + picked + ((halves ? 2 : 1) * Scratch.ArenaBytes(scratchBytes)));
        Residual = arena.Allocate(ElementType.F32, maxTokens, hiddenSize);
        Normed = arena.Allocate(ElementType.F32, maxTokens, hiddenSize);
        Delta = arena.Allocate(ElementType.F32, maxTokens, hiddenSize);
        Picked = arena.Allocate(ElementType.F32, maxLogitRows, hiddenSize);
        if (drafts)
        {
            Given = arena.Allocate(ElementType.F32, maxTokens, hiddenSize);
            Joined = arena.Allocate(ElementType.F32, maxTokens, 2 * hiddenSize);
        }
        Scratch = new Scratch(arena, scratchBytes);
        SecondScratch = halves ? new Scratch(arena, scratchBytes) : Scratch;
    }

    /// <summary>Runs the steps that use these buffers.</summary>
    public Backend Backend { get; }

    /// <summary>Most rows in a step.</summary>
    public int MaxTokens { get; }

    /// <summary>Most rows of logits in one call.</summary>
    public int MaxLogitRows { get; }

    /// <summary>Bytes of backend memory that the workspace holds.</summary>
    public long Bytes => arena.Bytes;

    /// <summary>F32 <c>[tokens, hidden]</c>: the last step's hidden states behind the final norm; valid until the next step.</summary>
    public Tensor Hidden { get; internal set; }

    /// <summary>Buffers of the unit that runs.</summary>
    public Scratch Scratch { get; }

    internal Scratch SecondScratch { get; } // of the second micro-batch; the same where steps have one

    internal Tensor Residual { get; } // [maxTokens, hidden]

    internal Tensor Normed { get; } // [maxTokens, hidden]: input of the next unit

    internal Tensor Delta { get; } // [maxTokens, hidden]: output of a unit

    internal Tensor Picked { get; } // [maxLogitRows, hidden]: rows that get logits

    internal Tensor Given { get; } // [maxTokens, hidden]: hidden states that go into the draft module

    internal Tensor Joined { get; } // [maxTokens, 2·hidden]: its input; both empty without one

    /// <inheritdoc/>
    public void Dispose() => arena.Dispose();
}
