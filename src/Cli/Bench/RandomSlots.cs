namespace XDeepServe.Cli.Bench;

/// <summary>Expert slots drawn at random, different ones for each token, the same for the same seed.</summary>
internal static class RandomSlots
{
    /// <returns>[tokens, topK]</returns>
    public static int[] Draw(int seed, int tokens, int topK, int slots)
    {
        Random random = new(seed);
        int[] chosen = new int[tokens * topK], all = [.. Enumerable.Range(0, slots)];
        for (int token = 0; token < tokens; token++)
        {
            random.Shuffle(all);
            all.AsSpan(0, topK).CopyTo(chosen.AsSpan(token * topK));
        }
        return chosen;
    }
}
