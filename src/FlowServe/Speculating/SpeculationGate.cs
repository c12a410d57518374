using System.Numerics;

namespace XDeepServe.FlowServe.Speculating;

/// <summary>
/// Says whether a step proposes tokens. Verifying makes a step longer; with many sequences, more than the accepted tokens are worth.
/// So the gate compares, for each size of the batch (by powers of two), seconds a step and tokens a sequence with proposals and
/// without, and now and then tries what it does not do. Only speed depends on it, never a token. Belongs to the DP group's thread.
/// </summary>
/// <param name="limit">Sequences from which on nothing is proposed, whatever was measured; null to go by measurements alone.</param>
internal sealed class SpeculationGate(int? limit)
{
    private const int Trial = 8, Between = 256; // steps
    private const double Weight = 1.0 / 16;
    private readonly Side[] plain = new Side[13], proposing = new Side[13]; // by the power of two above the sequences
    private readonly int[] steps = new int[13];

    /// <summary>Decides for a step.</summary>
    /// <param name="sequences">Sequences that run.</param>
    public bool Decide(int sequences)
    {
        if (limit is { } most)
            return sequences < most;
        int size = Size(sequences), step = steps[size]++;
        bool better = Better(size);
        // A trial of what is not done: short, and rare enough to cost little even where it is twice as slow.
        return step % Between < Trial ? !better : better;
    }

    /// <summary>Learns from a step in which all sequences decoded.</summary>
    /// <param name="sequences">Sequences in it.</param>
    /// <param name="proposed">Whether proposals were verified.</param>
    /// <param name="tokens">Tokens that it brought.</param>
    /// <param name="seconds">From the end of the step before to its own.</param>
    public void Observe(int sequences, bool proposed, int tokens, double seconds)
    {
        ref Side side = ref (proposed ? proposing : plain)[Size(sequences)];
        double perSequence = (double)tokens / sequences;
        double weight = side.Seen < 1 / Weight ? 1.0 / (side.Seen + 1) : Weight;
        side = new Side(side.Seen + 1, side.Seconds + weight * (seconds - side.Seconds), side.Tokens + weight * (perSequence - side.Tokens));
    }

    private static int Size(int sequences) => Math.Min(12, BitOperations.Log2((uint)Math.Max(1, sequences) * 2 - 1));

    private bool Better(int size) =>
        plain[size].Seen < Trial / 2 || proposing[size].Seen < Trial / 2 || proposing[size].Tokens / proposing[size].Seconds > plain[size].Tokens / plain[size].Seconds;

    private readonly record struct Side(long Seen, double Seconds, double Tokens);
}
