namespace XDeepServe.Alignment.Rewards;

/// <summary>What of a preference pair is made a feature.</summary>
public enum PairFeature
{
    /// <summary>LRHP: the hidden state of the token that ends the pair.</summary>
    Preference,

    /// <summary>A baseline: the mean hidden state over the pair's text, of any language model.</summary>
    Embedding,

    /// <summary>A baseline: by how much a reward model prefers the chosen answer; one value.</summary>
    Reward,
}
