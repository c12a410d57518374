using System.Globalization;

namespace XDeepServe.Alignment.Data;

/// <summary>How many examples were read, kept and dropped, and why. One reader's thread at a time.</summary>
public sealed class DataCounts
{
    private readonly SortedDictionary<string, long> dropped = new(StringComparer.Ordinal), remarks = new(StringComparer.Ordinal);

    /// <summary>Examples read.</summary>
    public long Read { get; private set; }

    /// <summary>Examples that were handed on.</summary>
    public long Kept => Read - dropped.Values.Sum();

    /// <summary>Examples dropped, by reason.</summary>
    public IReadOnlyDictionary<string, long> Dropped => dropped;

    /// <summary>Counts an example, kept, of which something is to be said.</summary>
    /// <param name="what">For example <c>truncated</c>.</param>
    public void Remark(string what) => remarks[what] = remarks.GetValueOrDefault(what) + 1;

    /// <summary>Counts an example that was read.</summary>
    public void Add() => Read++;

    /// <summary>Counts an example, read before, as dropped.</summary>
    /// <param name="reason">For example <c>equal answers</c>.</param>
    public void Drop(string reason) => dropped[reason] = dropped.GetValueOrDefault(reason) + 1;

    /// <summary>One line for people.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"{Read} read, {Kept} kept{(remarks.Count == 0 ? "" : $" ({List(remarks)})")}{(dropped.Count == 0 ? "" : $", dropped: {List(dropped)}")}");

    private static string List(SortedDictionary<string, long> counted) => string.Join(", ", counted.Select(one => string.Create(CultureInfo.InvariantCulture, $"{one.Value} {one.Key}")));
}
