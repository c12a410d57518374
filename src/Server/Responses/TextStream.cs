using System.Text.Json;
using XDeepServe.FlowServe;
using XDeepServe.Models.Text;
using XDeepServe.Server.Http;

namespace XDeepServe.Server.Responses;

/// <summary>Chunks of a text completion.</summary>
internal sealed class TextStream(Job job, ErrorGate errors, EchoedPrompt? echo, CancellationToken hurry) : AnswerStream(job, errors, hurry)
{
    private readonly Job _job = job;
    private readonly LogprobWriter _logprobs = new(job.Tokens);
    private readonly bool[] _started = new bool[job.Prompts.Count * job.Choices];
    private readonly IReadOnlyList<TokenLogprob?>?[] _promptLogprobs = new IReadOnlyList<TokenLogprob?>?[job.Prompts.Count];
    private readonly int[] _offsets = new int[job.Prompts.Count * job.Choices];

    /// <inheritdoc/>
    protected override ReadOnlySpan<byte> Kind => "text_completion"u8;

    /// <inheritdoc/>
    protected override bool HasCompletion => echo is not { Only: true };

    /// <inheritdoc/>
    protected override void Write(SseWriter events, int prompt, OutputDelta delta)
    {
        int index = IndexOf(prompt, delta);
        bool first = !_started[index];
        _started[index] = true;
        _promptLogprobs[prompt] ??= delta.PromptLogprobs;
        bool onlyEcho = !HasCompletion;
        string prefix = first && echo is not null ? echo.Text(_job.Prompts[prompt]) : "";
        string text = onlyEcho ? prefix : prefix + delta.Text;
        bool news = text.Length > 0 || delta.FinishReason is not null || delta.Logprobs is { Count: > 0 } || _job.Common.ReturnTokenIds;
        if (!news)
        {
            return;
        }
        Utf8JsonWriter json = events.Begin();
        _job.WriteHead(json, Kind);
        json.WriteStartArray("choices"u8);
        json.WriteStartObject();
        json.WriteNumber("index"u8, index);
        json.WriteString("text"u8, text);
        WriteLogprobs(json, prompt, index, delta, first && echo is not null, onlyEcho);
        Job.WriteFinish(json, delta.FinishReason, delta.StopReason);
        if (_job.Common.ReturnTokenIds)
        {
            if (first)
            {
                Job.WriteIds(json, "prompt_token_ids"u8, _job.Prompts[prompt].Ids);
            }
            Job.WriteIds(json, "token_ids"u8, onlyEcho ? [] : delta.TokenIds);
        }
        json.WriteEndObject();
        json.WriteEndArray();
        EndChunk(events, json, delta);
    }

    private void WriteLogprobs(Utf8JsonWriter json, int prompt, int index, OutputDelta delta, bool withPrompt, bool onlyEcho)
    {
        if (_job.Common.Sampling.Logprobs is null)
        {
            json.WriteNull("logprobs"u8);
            return;
        }
        List<TokenLogprob?> logprobs = [];
        List<int> ids = [];
        if (withPrompt && _promptLogprobs[prompt] is { } known)
        {
            logprobs.AddRange(known);
            ids.AddRange(_job.Prompts[prompt].Ids);
        }
        if (!onlyEcho)
        {
            logprobs.AddRange(delta.Logprobs ?? []);
            ids.AddRange(delta.TokenIds);
        }
        _offsets[index] = _logprobs.WriteText(json, logprobs, ids, _offsets[index]);
    }
}

/// <summary>The text of a prompt that an answer starts with.</summary>
/// <param name="Tokenizer">Decodes prompts given as ids.</param>
/// <param name="Only">Whether the answer is the prompt and nothing else.</param>
internal sealed record EchoedPrompt(Tokenizer? Tokenizer, bool Only)
{
    /// <summary>The text of one prompt; empty without a tokenizer.</summary>
    public string Text(Prompt prompt) => prompt.Text ?? Tokenizer?.Decode(prompt.Ids) ?? "";
}
