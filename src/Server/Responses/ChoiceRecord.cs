using System.Text;
using XDeepServe.FlowServe;

namespace XDeepServe.Server.Responses;

/// <summary>A whole choice, gathered from its deltas.</summary>
internal sealed class ChoiceRecord
{
    private readonly StringBuilder _text = new();
    private readonly List<int> _ids = [];
    private readonly List<TokenLogprob> _logprobs = [];

    /// <summary>The text so far.</summary>
    public string Text => _text.ToString();

    /// <summary>The new tokens.</summary>
    public IReadOnlyList<int> Ids => _ids;

    /// <summary>Their log-probabilities, if asked for.</summary>
    public IReadOnlyList<TokenLogprob> Logprobs => _logprobs;

    /// <summary>Those of the prompt, if asked for.</summary>
    public IReadOnlyList<TokenLogprob?>? PromptLogprobs { get; private set; }

    /// <summary>What was read behind the prompt, if that was asked for.</summary>
    public IReadOnlyList<float>? Values { get; private set; }

    /// <summary>Why it ended.</summary>
    public string? FinishReason { get; private set; }

    /// <summary>The stop string or id that ended it.</summary>
    public object? StopReason { get; private set; }

    /// <summary>Adds a delta.</summary>
    public void Add(OutputDelta delta)
    {
        _text.Append(delta.Text);
        _ids.AddRange(delta.TokenIds);
        _logprobs.AddRange(delta.Logprobs ?? []);
        PromptLogprobs ??= delta.PromptLogprobs;
        Values ??= delta.Values;
        FinishReason ??= delta.FinishReason;
        StopReason ??= delta.StopReason;
    }
}
