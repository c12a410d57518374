using System.Text.Json;
using XDeepServe.FlowServe;

namespace XDeepServe.Server.Responses;

/// <summary>A text completion in one piece.</summary>
internal sealed class TextAnswer(Job job, AnswerCollection answer, EchoedPrompt? echo)
{
    private readonly LogprobWriter _logprobs = new(job.Tokens);
    private readonly bool _onlyEcho = echo is { Only: true };

    /// <summary>Writes the answer.</summary>
    public void Write(Utf8JsonWriter json)
    {
        job.WriteHead(json, "text_completion"u8);
        json.WriteStartArray("choices"u8);
        for (int index = 0; index < answer.Choices.Length; index++)
        {
            WriteChoice(json, index);
        }
        json.WriteEndArray();
        answer.Usage.Write(json, countCompletion: !_onlyEcho);
        answer.WriteTransfer(json);
        json.WriteEndObject();
    }

    private void WriteChoice(Utf8JsonWriter json, int index)
    {
        ChoiceRecord choice = answer.Choices[index];
        int promptIndex = index / job.Choices;
        Prompt prompt = job.Prompts[promptIndex];
        IReadOnlyList<TokenLogprob?>? promptLogprobs = answer.PromptLogprobs(promptIndex);
        string text = _onlyEcho ? "" : choice.Text;
        json.WriteStartObject();
        json.WriteNumber("index"u8, index);
        json.WriteString("text"u8, echo is null ? text : echo.Text(prompt) + text);
        WriteLogprobs(json, choice, prompt, promptLogprobs);
        Job.WriteFinish(json, _onlyEcho ? "length" : choice.FinishReason, _onlyEcho ? null : choice.StopReason);
        _logprobs.WritePrompt(json, job.Common.Sampling.PromptLogprobs is null ? null : promptLogprobs);
        if (job.Common.ReturnTokenIds)
        {
            Job.WriteIds(json, "prompt_token_ids"u8, prompt.Ids);
            Job.WriteIds(json, "token_ids"u8, _onlyEcho ? [] : choice.Ids);
        }
        json.WriteEndObject();
    }

    private void WriteLogprobs(Utf8JsonWriter json, ChoiceRecord choice, Prompt prompt, IReadOnlyList<TokenLogprob?>? promptLogprobs)
    {
        if (job.Common.Sampling.Logprobs is null)
        {
            json.WriteNull("logprobs"u8);
            return;
        }
        List<TokenLogprob?> logprobs = [];
        List<int> ids = [];
        if (echo is not null && promptLogprobs is not null)
        {
            logprobs.AddRange(promptLogprobs);
            ids.AddRange(prompt.Ids);
        }
        if (!_onlyEcho)
        {
            logprobs.AddRange(choice.Logprobs);
            ids.AddRange(choice.Ids);
        }
        _logprobs.WriteText(json, logprobs, ids, 0);
    }
}
