namespace XDeepServe.Models.Text.Splitting;

/// <summary>Runs of digits and other numbers.</summary>
/// <param name="longest">The most characters of one match.</param>
internal sealed class NumberRuns(int longest) : ScanPattern
{
    /// <summary>The regular expression it stands for with up to three characters.</summary>
    public const string Source = @"\p{N}{1,3}";

    /// <inheritdoc/>
    protected override int MatchAt(ReadOnlySpan<char> text, int index) => NumberEnd(text, index, longest) - index;
}
