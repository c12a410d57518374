using XDeepServe.Alignment.Data;

namespace XDeepServe.Training.Batching;

/// <summary>Token ids of one sequence.</summary>
/// <param name="Ids">All of them.</param>
/// <param name="Learned">Ranges [start, end) of the tokens that a language model's loss is over; empty where something else is learnt.</param>
public sealed record Sequence(int[] Ids, IReadOnlyList<(int Start, int End)> Learned)
{
    /// <summary>Files of the images that its image tokens show, in order.</summary>
    public IReadOnlyList<string> Images { get; init; } = [];

    /// <summary>A sequence of which something behind its last token is learnt.</summary>
    public Sequence(int[] ids) : this(ids, [])
    {
    }

    /// <summary>Number of tokens under the loss; the first of a sequence has nothing before it.</summary>
    public int LearnedTokens => Learned.Sum(range => range.End - Math.Max(1, range.Start));
}

/// <summary>What is learnt from together: one text, one judge's prompt, the answers of one pair from the best to the worst.</summary>
/// <param name="Sequences">At least one; as many in every example of a stage.</param>
public sealed record Example(IReadOnlyList<Sequence> Sequences)
{
    /// <summary>Which of two is right, where a model is asked: 0 or 1.</summary>
    public int Label { get; init; }

    /// <summary>By how much the first sequence must win (Bradley-Terry).</summary>
    public double Margin { get; init; }

    /// <summary>Log-probability of each sequence's learned tokens under the model before training (DPO).</summary>
    public IReadOnlyList<double> Reference { get; init; } = [];

    /// <summary>The pair that it comes from; null for text.</summary>
    public PreferencePair? Pair { get; init; }

    /// <summary>Tokens of the longest sequence.</summary>
    public int Length => Sequences.Max(sequence => sequence.Ids.Length);
}
