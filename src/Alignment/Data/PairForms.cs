using System.Text.Json;
using System.Text.RegularExpressions;
using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Alignment.Data;

/// <summary>The forms in which an example's conversation and answers are written. Which one it is shows in the fields that it has.</summary>
internal static partial class PairForms
{
    /// <summary>A conversation and two answers; an answer that is more than one turn is null.</summary>
    public static (IReadOnlyList<Message> Prompt, string? Chosen, string? Rejected) Read(Row row)
    {
        if (row.Has("rejected_response"))
        {
            IReadOnlyList<Message> turns = row.Messages("messages");
            if (turns is not [.., { Role: "assistant" } last])
                throw row.Wrong("messages", "must end with the assistant's chosen answer, because 'rejected_response' is there");
            return (WithSystem(row, [.. turns.SkipLast(1)]), last.Content, row.Text("rejected_response"));
        }
        if (row.Has("rejected_messages"))
        {
            (IReadOnlyList<Message> common, string? better, string? worse) = Split(row.Messages("messages"), row.Messages("rejected_messages"));
            return (WithSystem(row, common), better, worse);
        }
        IReadOnlyList<Message>? prompt = row.Has("prompt") ? row.Messages("prompt")
            : row.Has("conversations") ? row.Messages("conversations")
            : row.Has("instruction") ? Instruction(row) : null;
        if (prompt is not null)
            return (WithSystem(row, prompt), Answer(row, "chosen", prompt), Answer(row, "rejected", prompt));
        return FromCommonBeginning(row);
    }

    /// <summary>Text or a conversation to learn from.</summary>
    public static Passage ReadPassage(Row row)
    {
        if (row.Has("text"))
            return new Passage { Text = row.Text("text") };
        if (row.Has("messages") || row.Has("conversations"))
            return new Passage { Messages = WithSystem(row, row.Messages(row.Has("messages") ? "messages" : "conversations")) };
        (IReadOnlyList<Message> prompt, string answer) = row.Has("prompt") ? (row.Messages("prompt"), "completion")
            : row.Has("instruction") ? (Instruction(row), "output")
            : throw row.Wrong("text", "is missing, and so are 'messages', 'conversations', 'prompt' and 'instruction'");
        return new Passage { Messages = [.. WithSystem(row, prompt), .. row.Required(answer).ValueKind == JsonValueKind.String ? [new Message("assistant", row.Text(answer))] : row.Messages(answer)] };
    }

    private static List<Message> Instruction(Row row)
    {
        List<Message> turns = [];
        if (row.Has("history"))
        {
            foreach (JsonElement past in row.Items("history"))
            {
                if (past.ValueKind != JsonValueKind.Array || past.GetArrayLength() != 2 || past.EnumerateArray().Any(text => text.ValueKind != JsonValueKind.String))
                    throw row.Wrong("history", "must be a list of [question, answer]");
                turns.Add(new Message("user", row.Words("history", past[0])));
                turns.Add(new Message("assistant", row.Words("history", past[1])));
            }
        }
        string input = row.Has("input") ? row.Text("input") : "";
        turns.Add(new Message("user", input.Length > 0 ? $"{row.Text("instruction")}\n{input}" : row.Text("instruction")));
        return turns;
    }

    private static IReadOnlyList<Message> WithSystem(Row row, IReadOnlyList<Message> turns) =>
        row.Has("system") && row.Text("system") is { Length: > 0 } system && turns is not [{ Role: "system" }, ..] ? [new Message("system", system), .. turns] : turns;

    // Some sets repeat the prompt in front of each answer.
    private static string? Answer(Row row, string field, IReadOnlyList<Message> prompt)
    {
        if (row.Required(field).ValueKind == JsonValueKind.String)
            return row.Text(field);
        IReadOnlyList<Message> turns = row.Messages(field);
        if (turns.Count > prompt.Count && turns.Take(prompt.Count).SequenceEqual(prompt))
            turns = [.. turns.Skip(prompt.Count)];
        if (turns.Count == 0)
            throw row.Wrong(field, "is empty");
        return turns is [{ Role: "assistant" } only] ? only.Content : null;
    }

    private static (IReadOnlyList<Message> Prompt, string? Chosen, string? Rejected) FromCommonBeginning(Row row)
    {
        if (row.Required("chosen").ValueKind != JsonValueKind.String)
            return Split(row.Messages("chosen"), row.Messages("rejected"));
        string chosen = row.Text("chosen"), rejected = row.Text("rejected");
        if (Transcript(chosen) is { } first && Transcript(rejected) is { } second)
            return Split(first, second);
        int common = chosen.AsSpan().CommonPrefixLength(rejected);
        if (common > 0 && common < Math.Min(chosen.Length, rejected.Length) && chosen[common - 1] == ' ')
            common--; // the space belongs to the answers
        return (Message.Question(chosen[..common]), chosen[common..], rejected[common..]);
    }

    private static (IReadOnlyList<Message> Prompt, string? Chosen, string? Rejected) Split(IReadOnlyList<Message> chosen, IReadOnlyList<Message> rejected)
    {
        int common = 0;
        int most = Math.Min(chosen.Count, rejected.Count) - 1; // equal conversations end in equal answers
        while (common < most && chosen[common] == rejected[common])
            common++;
        return ([.. chosen.Take(common)], Last(chosen), Last(rejected));

        string? Last(IReadOnlyList<Message> turns) => turns.Count == common + 1 && turns[common].Role == "assistant" ? turns[common].Content : null;
    }

    private static List<Message>? Transcript(string text)
    {
        if (!text.StartsWith("\n\nHuman:", StringComparison.Ordinal))
            return null;
        string[] parts = Speakers().Split(text); // "", speaker, text, speaker, text
        List<Message> turns = [];
        for (int at = 1; at + 1 < parts.Length; at += 2)
            turns.Add(new Message(parts[at] == "Human" ? "user" : "assistant", parts[at + 1].Trim()));
        return turns;
    }

    [GeneratedRegex(@"\n\n(Human|Assistant): ?")]
    private static partial Regex Speakers();
}
