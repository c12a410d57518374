namespace XDeepServe.Models.Text;

/// <summary>A unigram model: every token has a score, its logarithmic probability.</summary>
internal sealed class UnigramModel(bool byteLevel) : TokenModel(byteLevel)
{
    private readonly List<double> scores = []; // [ids]

    /// <summary>The scores by id.</summary>
    public IReadOnlyList<double> Scores => scores;

    /// <summary>Stores the next token; its id is its place.</summary>
    /// <param name="name">As the vocabulary writes it, in UTF-8.</param>
    /// <param name="score">Its score, finite.</param>
    public void AddScored(ReadOnlySpan<byte> name, double score)
    {
        if (!double.IsFinite(score))
            throw new TokenizerException($"The score of token {scores.Count} of the tokenizer is not a number. Fetch the tokenizer's files again.");
        AddToken(scores.Count, name);
        scores.Add(score);
    }

    /// <inheritdoc/>
    public override PieceEncoder CreateEncoder() => new UnigramEncoder(this);
}
