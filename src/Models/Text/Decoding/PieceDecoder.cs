using System.Runtime.InteropServices;
using System.Text;
using System.Text.Unicode;

namespace XDeepServe.Models.Text.Decoding;

/// <summary>
/// Decodes the tokens of a model in plain text as they come. A run of byte tokens appears when it has ended: if it is not
/// all of it UTF-8, none of it is, as in the reference.
/// </summary>
/// <param name="tokens">What they stand for.</param>
/// <param name="skips">Says which are left out; null: none.</param>
internal sealed class PieceDecoder(PieceDetokenizer tokens, Func<int, bool>? skips) : IncrementalDecoder
{
    private readonly PieceRules rules = tokens.Rules;
    private readonly List<byte> run = []; // byte tokens not yet ended by another
    private bool begun, placed;           // a token was seen; a piece was made
    private int stripped;                 // characters taken from the start; negative: no more are
    private string held = "";             // what may yet be taken from the end

    /// <inheritdoc/>
    public override string Append(int id)
    {
        if (skips is not null && skips(id))
            return "";
        if (tokens.Token(id, first: !begun) is not { } token)
            return "";
        begun = true;
        if (tokens.ByteValue(token) is >= 0 and var value)
        {
            run.Add((byte)value);
            return "";
        }
        return Whole(EndRun() + Piece(token));
    }

    /// <inheritdoc/>
    public override string Flush()
    {
        var rest = Whole(EndRun());
        (begun, placed, stripped, held) = (false, false, 0, "");
        return rest;
    }

    private string EndRun()
    {
        if (run.Count == 0)
            return "";
        var bytes = CollectionsMarshal.AsSpan(run);
        var text = Utf8.IsValid(bytes) ? Encoding.UTF8.GetString(bytes) : new string('\uFFFD', bytes.Length);
        run.Clear();
        return Piece(text);
    }

    private string Piece(string text)
    {
        foreach (var step in rules.Pieces)
            text = step.Apply(text, first: !placed);
        placed = true;
        return text;
    }

    private string Whole(string text)
    {
        foreach (var (old, other) in rules.Characters)
            text = text.Replace(old.ToString(), other, StringComparison.Ordinal);
        if (rules.Ends is not { } ends)
            return text;
        var from = 0;
        while (stripped >= 0 && from < text.Length)
        {
            if (stripped < ends.Start && text[from] == ends.Content)
                (from, stripped) = (from + 1, stripped + 1);
            else
                stripped = -1;
        }
        text = held + text[from..];
        var kept = text.Length;
        while (kept > 0 && text.Length - kept < ends.Stop && text[kept - 1] == ends.Content)
            kept--;
        held = text[kept..];
        return text[..kept];
    }
}
