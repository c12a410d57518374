namespace XDeepServe.FlowServe.Speculating;

/// <summary>
/// Proposes what followed when a sequence's last tokens stood in it before: as many of them as occur again, the latest place first.
/// Costs no model; finds something where answers repeat what was asked or said.
/// </summary>
/// <param name="tokens">Tokens proposed at once.</param>
/// <param name="least">Fewest last tokens that must occur again.</param>
/// <param name="most">Most that are looked for.</param>
internal sealed class PromptLookup(int tokens, int least, int most) : Speculation(tokens)
{
    /// <inheritdoc/>
    public override bool OnDevice => false;

    /// <inheritdoc/>
    public override int Propose(ReadOnlySpan<int> known, Span<int> proposed)
    {
        for (int length = Math.Min(most, known.Length - 1); length >= least; length--)
        {
            int place = known[..^1].LastIndexOf(known[^length..]);
            if (place < 0)
                continue;
            ReadOnlySpan<int> followed = known[(place + length)..];
            int count = Math.Min(followed.Length, Math.Min(Tokens, proposed.Length));
            followed[..count].CopyTo(proposed);
            return count;
        }
        return 0;
    }
}
