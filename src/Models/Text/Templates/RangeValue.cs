using System.Collections;

namespace XDeepServe.Models.Text.Templates;

/// <summary>What <c>range</c> makes: whole numbers at equal distances, none of them stored.</summary>
/// <param name="start">The first.</param>
/// <param name="stop">What none of them reaches.</param>
/// <param name="step">The distance, not 0.</param>
/// <param name="count">How many there are.</param>
internal sealed class RangeValue(long start, long stop, long step, int count) : IReadOnlyList<object?>
{
    /// <inheritdoc/>
    public int Count => count;

    /// <inheritdoc/>
    public object? this[int index] => start + index * step;

    /// <summary>Some of its numbers.</summary>
    /// <param name="first">The place of the first.</param>
    /// <param name="last">The place behind the last, in the direction of <paramref name="by"/>.</param>
    /// <param name="by">From place to place.</param>
    /// <param name="length">How many.</param>
    public RangeValue Slice(long first, long last, long by, int length) => new(start + first * step, start + last * step, step * by, length);

    /// <inheritdoc/>
    public IEnumerator<object?> GetEnumerator()
    {
        for (var i = 0; i < count; i++)
            yield return this[i];
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>As Python prints it.</summary>
    public override string ToString() => step == 1 ? $"range({start}, {stop})" : $"range({start}, {stop}, {step})";
}
