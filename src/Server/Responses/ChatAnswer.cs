using System.Text.Json;

namespace XDeepServe.Server.Responses;

/// <summary>A chat answer in one piece.</summary>
/// <param name="job">The request.</param>
/// <param name="answer">All choices that were made.</param>
/// <param name="echo">What every answer begins with.</param>
/// <param name="kept">Which of the choices are part of the answer, the best first.</param>
internal sealed class ChatAnswer(Job job, AnswerCollection answer, string? echo, IReadOnlyList<int> kept)
{
    /// <summary>Writes the answer.</summary>
    public void Write(Utf8JsonWriter json)
    {
        LogprobWriter logprobs = new(job.Tokens);
        job.WriteHead(json, "chat.completion"u8);
        json.WriteStartArray("choices"u8);
        for (int index = 0; index < kept.Count; index++)
        {
            ChoiceRecord choice = answer.Choices[kept[index]];
            json.WriteStartObject();
            json.WriteNumber("index"u8, index);
            json.WriteStartObject("message"u8);
            json.WriteString("role"u8, "assistant"u8);
            json.WriteString("content"u8, echo + choice.Text);
            json.WriteNull("refusal"u8);
            json.WriteEndObject();
            logprobs.WriteChat(json, job.Common.Sampling.Logprobs is null ? null : choice.Logprobs);
            Job.WriteFinish(json, choice.FinishReason, choice.StopReason);
            if (job.Common.ReturnTokenIds)
            {
                Job.WriteIds(json, "token_ids"u8, choice.Ids);
            }
            json.WriteEndObject();
        }
        json.WriteEndArray();
        answer.Usage.Write(json);
        answer.WriteTransfer(json);
        logprobs.WritePrompt(json, answer.PromptLogprobs(0));
        if (job.Common.ReturnTokenIds)
        {
            Job.WriteIds(json, "prompt_token_ids"u8, job.Prompts[0].Ids);
        }
        json.WriteEndObject();
    }
}
