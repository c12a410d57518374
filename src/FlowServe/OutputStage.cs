using XDeepServe.Models.Text;

namespace XDeepServe.FlowServe;

/// <summary>
/// Turns one choice's tokens into text, finds where it ends and hands the pieces to the request's <see cref="IOutput"/>.
/// Runs on the DP group's thread; allocates nothing per token unless stop strings or log-probabilities are asked for.
/// </summary>
internal sealed class OutputStage
{
    private readonly IOutput output;
    private readonly SamplingParameters sampling;
    private readonly IReadOnlyList<int> endIds;
    private readonly int choice, maxNew;
    private readonly IncrementalDecoder? decoder;
    private readonly int longestStop;
    private string held = ""; // text that may be the beginning of a stop string
    private int count;

    /// <summary>A stage for one choice.</summary>
    public OutputStage(IOutput output, SamplingParameters sampling, Tokenizer? tokenizer, IReadOnlyList<int> endIds, int choice, int maxNew)
    {
        (this.output, this.sampling, this.endIds, this.choice, this.maxNew) = (output, sampling, endIds, choice, maxNew);
        decoder = sampling.Detokenize ? tokenizer?.CreateDecoder(sampling.SkipSpecialTokens) : null;
        foreach (string stop in sampling.Stop)
            longestStop = Math.Max(longestStop, stop.Length);
    }

    /// <summary>Takes tokens that were put out elsewhere: what follows is decoded behind them.</summary>
    public void Replay(ReadOnlySpan<int> tokens)
    {
        foreach (int token in tokens)
        {
            count++;
            if (decoder is null)
                continue;
            string text = decoder.Append(token);
            if (longestStop > 0)
                Scan(text, out _, out _);
        }
    }

    /// <summary>Takes a token.</summary>
    /// <returns>Why the choice ended with it; null if it goes on.</returns>
    public string? Take(int token, TokenLogprob? logprob)
    {
        count++;
        string? finish = null;
        object? reason = null;
        string text = "";
        bool isEnd = !sampling.IgnoreEos && Contains(endIds, token), isStop = Contains(sampling.StopTokenIds, token);
        if ((isEnd || isStop) && count > sampling.MinTokens)
        {
            finish = "stop";
            reason = isStop && !isEnd ? token : null;
            if (decoder is not null)
                text = Drain(sampling.IncludeStop ? decoder.Append(token) : "");
        }
        else
        {
            if (decoder is not null)
                text = longestStop == 0 ? decoder.Append(token) : Scan(decoder.Append(token), out finish, out reason);
            if (finish is null && count >= maxNew)
            {
                finish = "length";
                if (decoder is not null)
                    text += Drain("");
            }
        }
        output.Push(new OutputEvent(choice, token, text, logprob, finish, reason));
        return finish;
    }

    /// <summary>Ends the choice with what was read behind its prompt.</summary>
    public void End(float[] values) => output.Push(new OutputEvent(choice, -1, "", null, "stop", null, values));

    /// <summary>Ends the choice without a further token.</summary>
    public void End(string finish) => output.Push(new OutputEvent(choice, -1, decoder is null ? "" : Drain(""), null, finish, null));

    private static bool Contains(IReadOnlyList<int> ids, int token)
    {
        for (int i = 0; i < ids.Count; i++)
            if (ids[i] == token)
                return true;
        return false;
    }

    /// <summary>Everything that was kept back, then what the decoder has left.</summary>
    private string Drain(string last)
    {
        string text = string.Concat(held, last, decoder!.Flush());
        held = "";
        return text;
    }

    /// <summary>Looks for the first stop string; keeps back what could be the beginning of one.</summary>
    private string Scan(string addition, out string? finish, out object? reason)
    {
        (finish, reason) = (null, null);
        string text = held + addition;
        if (count > sampling.MinTokens)
        {
            int first = text.Length, length = 0;
            foreach (string stop in sampling.Stop)
            {
                int at = text.IndexOf(stop, StringComparison.Ordinal);
                if (at >= 0 && at < first)
                    (first, length, finish, reason) = (at, stop.Length, "stop", stop);
            }
            if (finish is not null)
            {
                held = "";
                return text[..(sampling.IncludeStop ? first + length : first)];
            }
        }
        for (int start = Math.Max(0, text.Length - longestStop + 1); start < text.Length; start++)
        {
            foreach (string stop in sampling.Stop)
            {
                if (!stop.AsSpan().StartsWith(text.AsSpan(start)))
                    continue;
                held = text[start..];
                return text[..start];
            }
        }
        held = "";
        return text;
    }
}
