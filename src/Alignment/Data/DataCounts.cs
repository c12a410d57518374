using System.Globalization;

namespace XDeepServe.Alignment.Data;

/// <summary>How many examples were read, kept and dropped, and why. One reader's thread at a time.</summary>
public sealed class DataCounts
{
    private readonly SortedDictionary<string, long> dropped = new(StringComparer.Ordinal);

    /// <summary>Examples read.</summary>
    public long Read { get; private set; }

    /// <summary>Examples that were handed on.</summary>
    public long Kept => Read - dropped.Values.Sum();

    /// <summary>Examples dropped, by reason.</summary>
    public IReadOnlyDictionary<string, long> Dropped => dropped;

    /// <summary>Examples kept, but cut to fit.</summary>
    public long Truncated { get; private set; }

    /// <summary>Counts an example, kept, as cut to fit.</summary>
    public void Truncate() => Truncated++;

    /// <summary>Counts an example that was read.</summary>
    public void Add() => Read++;

    /// <summary>Counts an example, read before, as dropped.</summary>
    /// <param name="reason">For example <c>equal answers</c>.</param>
    public void Drop(string reason) => dropped[reason] = dropped.GetValueOrDefault(reason) + 1;

    /// <summary>One line for people.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"{Read} read, {Kept} kept{(Truncated == 0 ? "" : $" ({Truncated} truncated)")}{(dropped.Count == 0 ? "" : $", dropped: {string.Join(", ", dropped.Select(one => $"{one.Value} {one.Key}"))}")}");
}
