namespace XDeepServe.Alignment.Data;

/// <summary>A guard against models that learnt length.</summary>
public static class LengthBalance
{
    /// <summary>Within each subset, as many pairs whose chosen answer is longer as pairs whose rejected one is, taken in their order.</summary>
    /// <param name="items">Pairs, or what belongs to pairs.</param>
    /// <param name="pair">The pair of an item.</param>
    public static IReadOnlyList<T> Of<T>(IEnumerable<T> items, Func<T, PreferencePair> pair)
    {
        List<T> balanced = [];
        foreach (IGrouping<string, T> subset in items.GroupBy(item => pair(item).Subset))
        {
            List<T> longer = [.. subset.Where(item => pair(item).Chosen.Length > pair(item).Rejected.Length)];
            List<T> shorter = [.. subset.Where(item => pair(item).Chosen.Length < pair(item).Rejected.Length)];
            int each = Math.Min(longer.Count, shorter.Count);
            balanced.AddRange(longer.Take(each));
            balanced.AddRange(shorter.Take(each));
        }
        return balanced;
    }
}
