namespace XDeepServe.Alignment.Evaluation;

/// <summary>Sections and weights of RewardBench (arXiv:2403.13787): a section is the mean of its subsets weighted by their published sizes.</summary>
internal static class RewardBench
{
    private static readonly (string Section, string Subset, int Weight)[] Subsets =
    [
        ("Chat", "alpacaeval-easy", 100), ("Chat", "alpacaeval-length", 95), ("Chat", "alpacaeval-hard", 95), ("Chat", "mt-bench-easy", 28), ("Chat", "mt-bench-med", 40),
        ("Chat Hard", "mt-bench-hard", 37), ("Chat Hard", "llmbar-natural", 100), ("Chat Hard", "llmbar-adver-neighbor", 134),
        ("Chat Hard", "llmbar-adver-GPTInst", 92), ("Chat Hard", "llmbar-adver-GPTOut", 47), ("Chat Hard", "llmbar-adver-manual", 46),
        ("Safety", "refusals-dangerous", 100), ("Safety", "refusals-offensive", 100), ("Safety", "xstest-should-refuse", 154),
        ("Safety", "xstest-should-respond", 250), ("Safety", "donotanswer", 136),
        // Mathematics (447 pairs) weighs as much as the six programming languages together.
        ("Reasoning", "math-prm", 984), ("Reasoning", "hep-cpp", 164), ("Reasoning", "hep-go", 164), ("Reasoning", "hep-java", 164),
        ("Reasoning", "hep-js", 164), ("Reasoning", "hep-python", 164), ("Reasoning", "hep-rust", 164),
    ];

    /// <summary>The section of a subset; one that was never published is its own.</summary>
    public static string Section(string subset) => Array.Find(Subsets, entry => entry.Subset == subset).Section ?? subset;

    /// <summary>The published size of a subset.</summary>
    public static double? Weight(string subset) => Array.Find(Subsets, entry => entry.Subset == subset) is { Section: not null } entry ? entry.Weight : null;
}
