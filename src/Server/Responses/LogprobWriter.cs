using System.Globalization;
using System.Text.Json;
using XDeepServe.FlowServe;

namespace XDeepServe.Server.Responses;

/// <summary>Writes log-probabilities in the shapes of the two completion endpoints.</summary>
internal sealed class LogprobWriter(TokenText tokens)
{
    // JSON has no infinity; what cannot be drawn gets the value other servers give it.
    private const float Floor = -9999f;

    /// <summary>Chat: <c>"logprobs":{"content":[…]}</c>.</summary>
    public void WriteChat(Utf8JsonWriter json, IReadOnlyList<TokenLogprob>? logprobs)
    {
        if (logprobs is null)
        {
            json.WriteNull("logprobs"u8);
            return;
        }
        json.WriteStartObject("logprobs"u8);
        json.WriteStartArray("content"u8);
        foreach (TokenLogprob token in logprobs)
        {
            json.WriteStartObject();
            WriteToken(json, token.Id, token.Logprob);
            json.WriteStartArray("top_logprobs"u8);
            foreach ((int id, float logprob) in token.Top)
            {
                json.WriteStartObject();
                WriteToken(json, id, logprob);
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteNull("refusal"u8);
        json.WriteEndObject();
    }

    /// <summary>Text completions: <c>"logprobs":{"text_offset","token_logprobs","tokens","top_logprobs"}</c>; null stands for the first token of a prompt.</summary>
    /// <param name="json">Where to.</param>
    /// <param name="logprobs">One per token.</param>
    /// <param name="ids">The tokens.</param>
    /// <param name="offset">Characters before the first token; returns those behind the last.</param>
    public int WriteText(Utf8JsonWriter json, IReadOnlyList<TokenLogprob?> logprobs, IReadOnlyList<int> ids, int offset)
    {
        string[] names = [.. ids.Select(tokens.Name)];
        json.WriteStartObject("logprobs"u8);
        json.WriteStartArray("text_offset"u8);
        foreach (string name in names)
        {
            json.WriteNumberValue(offset);
            offset += name.Count(unit => !char.IsLowSurrogate(unit)); // characters, as Python's clients count them
        }
        json.WriteEndArray();
        json.WriteStartArray("token_logprobs"u8);
        foreach (TokenLogprob? token in logprobs)
        {
            WriteValue(json, token?.Logprob);
        }
        json.WriteEndArray();
        json.WriteStartArray("tokens"u8);
        foreach (string name in names)
        {
            json.WriteStringValue(name);
        }
        json.WriteEndArray();
        json.WriteStartArray("top_logprobs"u8);
        foreach (TokenLogprob? token in logprobs)
        {
            WriteTop(json, token);
        }
        json.WriteEndArray();
        json.WriteEndObject();
        return offset;
    }

    /// <summary>Prompt log-probabilities: per token null or <c>{"id":{"logprob","rank","decoded_token"}}</c>.</summary>
    public void WritePrompt(Utf8JsonWriter json, IReadOnlyList<TokenLogprob?>? logprobs)
    {
        if (logprobs is null)
        {
            json.WriteNull("prompt_logprobs"u8);
            return;
        }
        json.WriteStartArray("prompt_logprobs"u8);
        foreach (TokenLogprob? token in logprobs)
        {
            if (token is null)
            {
                json.WriteNullValue();
                continue;
            }
            json.WriteStartObject();
            WriteRanked(json, token.Id, token.Logprob, token.Rank);
            for (int i = 0; i < token.Top.Count; i++)
            {
                if (token.Top[i].Id != token.Id)
                {
                    WriteRanked(json, token.Top[i].Id, token.Top[i].Logprob, i + 1);
                }
            }
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }

    private void WriteRanked(Utf8JsonWriter json, int id, float logprob, int rank)
    {
        json.WriteStartObject(id.ToString(CultureInfo.InvariantCulture));
        json.WriteNumber("logprob"u8, Math.Max(logprob, Floor));
        json.WriteNumber("rank"u8, rank);
        json.WriteString("decoded_token"u8, tokens.Decoded(id));
        json.WriteEndObject();
    }

    private void WriteToken(Utf8JsonWriter json, int id, float logprob)
    {
        json.WriteString("token"u8, tokens.Name(id));
        json.WriteNumber("logprob"u8, Math.Max(logprob, Floor));
        tokens.WriteBytes(json, id);
    }

    // The drawn token is always among them, and two tokens of one text appear once.
    private void WriteTop(Utf8JsonWriter json, TokenLogprob? token)
    {
        if (token is null)
        {
            json.WriteNullValue();
            return;
        }
        json.WriteStartObject();
        HashSet<string> seen = new(StringComparer.Ordinal);
        foreach ((int id, float logprob) in token.Top.Prepend((token.Id, token.Logprob)))
        {
            string name = tokens.Name(id);
            if (seen.Add(name))
            {
                json.WriteNumber(name, Math.Max(logprob, Floor));
            }
        }
        json.WriteEndObject();
    }

    private static void WriteValue(Utf8JsonWriter json, float? logprob)
    {
        if (logprob is { } value)
        {
            json.WriteNumberValue(Math.Max(value, Floor));
        }
        else
        {
            json.WriteNullValue();
        }
    }
}
