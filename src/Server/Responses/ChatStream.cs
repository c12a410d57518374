using System.Text.Json;
using XDeepServe.FlowServe;
using XDeepServe.Server.Http;

namespace XDeepServe.Server.Responses;

/// <summary>Chunks of a chat answer: the role first, then text, then why it ended.</summary>
internal sealed class ChatStream(Job job, ErrorGate errors, string? echo, CancellationToken hurry) : AnswerStream(job, errors, hurry)
{
    private readonly Job _job = job;
    private readonly LogprobWriter _logprobs = new(job.Tokens);
    private readonly bool[] _started = new bool[job.Choices];

    /// <inheritdoc/>
    protected override ReadOnlySpan<byte> Kind => "chat.completion.chunk"u8;

    /// <inheritdoc/>
    protected override void Write(SseWriter events, int prompt, OutputDelta delta)
    {
        if (!_started[delta.Choice])
        {
            _started[delta.Choice] = true;
            WriteRole(events, delta);
        }
        // A step may bring tokens whose text is held back; without ids or log-probabilities nothing is to be said then.
        if (delta.Text.Length == 0 && delta.FinishReason is null && !_job.Common.ReturnTokenIds && delta.Logprobs is not { Count: > 0 })
        {
            return;
        }
        Utf8JsonWriter json = Open(events, delta);
        json.WriteStartObject("delta"u8);
        json.WriteString("content"u8, delta.Text);
        json.WriteEndObject();
        _logprobs.WriteChat(json, delta.Logprobs);
        if (delta.FinishReason is null)
        {
            json.WriteNull("finish_reason"u8);
        }
        else
        {
            Job.WriteFinish(json, delta.FinishReason, delta.StopReason);
        }
        if (_job.Common.ReturnTokenIds)
        {
            Job.WriteIds(json, "token_ids"u8, delta.TokenIds);
        }
        Close(events, json, delta);
    }

    private void WriteRole(SseWriter events, OutputDelta delta)
    {
        Utf8JsonWriter json = Open(events, delta);
        json.WriteStartObject("delta"u8);
        json.WriteString("role"u8, "assistant"u8);
        json.WriteString("content"u8, echo ?? "");
        json.WriteEndObject();
        json.WriteNull("logprobs"u8);
        json.WriteNull("finish_reason"u8);
        json.WriteEndObject();
        json.WriteEndArray();
        if (_job.Common.ReturnTokenIds)
        {
            Job.WriteIds(json, "prompt_token_ids"u8, _job.Prompts[0].Ids);
        }
        EndChunk(events, json, delta);
    }

    private Utf8JsonWriter Open(SseWriter events, OutputDelta delta)
    {
        Utf8JsonWriter json = events.Begin();
        _job.WriteHead(json, Kind);
        json.WriteStartArray("choices"u8);
        json.WriteStartObject();
        json.WriteNumber("index"u8, delta.Choice);
        return json;
    }

    private void Close(SseWriter events, Utf8JsonWriter json, OutputDelta delta)
    {
        json.WriteEndObject();
        json.WriteEndArray();
        EndChunk(events, json, delta);
    }
}
