namespace XDeepServe.Alignment.Prompts;

/// <summary>
/// The question that a generative reward model answers with a label: which of two responses is better (GRAM, arXiv:2506.14175).
/// Training and scoring must use the same one.
/// </summary>
public sealed record JudgePrompt
{
    private const string Frame =
        """
        You are an impartial judge of two answers, given by assistants A and B to the question of a user. Decide which answer serves the user better. Weigh how helpful, relevant, accurate, deep, creative and detailed each one is. Do not let their order, their length or the assistants' names sway you. Answer with one letter, "A" or "B", and nothing else.

        [User Question]
        {question}

        [The Start of Assistant A's Answer]
        {answer_a}
        [The End of Assistant A's Answer]

        [The Start of Assistant B's Answer]
        {answer_b}
        [The End of Assistant B's Answer]

        #Preferred:
        """;

    /// <summary>The frame, with <c>{question}</c>, <c>{answer_a}</c> and <c>{answer_b}</c> where the texts go.</summary>
    public string Template { get; init; } = Frame.ReplaceLineEndings("\n");

    /// <summary>What the model says if the first answer is better; one token.</summary>
    public string LabelA { get; init; } = "A";

    /// <summary>What it says if the second is.</summary>
    public string LabelB { get; init; } = "B";

    /// <summary>A judge with another frame.</summary>
    /// <exception cref="ArgumentException">A place for a text is missing.</exception>
    public static JudgePrompt Of(string template)
    {
        foreach (string place in (ReadOnlySpan<string>)["{question}", "{answer_a}", "{answer_b}"])
            if (!template.Contains(place, StringComparison.Ordinal))
                throw new ArgumentException($"A judge's template must hold {place}.");
        return new JudgePrompt { Template = template };
    }

    /// <summary>The judge's turn for a pair of answers.</summary>
    /// <param name="prompt">The conversation that the answers answer. One question stands as it is; of several turns each begins with who spoke.</param>
    /// <param name="answerA">The answer shown first.</param>
    /// <param name="answerB">The answer shown second.</param>
    public IReadOnlyList<Message> Write(IReadOnlyList<Message> prompt, string answerA, string answerB)
    {
        string question = Question(prompt);
        // One pass, so that a text which holds a place's name is left as it is.
        System.Text.StringBuilder text = new();
        for (int at = 0; at < Template.Length;)
        {
            (string place, string value)? found = Place("{question}", question) ?? Place("{answer_a}", answerA) ?? Place("{answer_b}", answerB);
            text.Append(found is { } given ? given.value : Template[at]);
            at += found?.place.Length ?? 1;

            (string, string)? Place(string name, string value) => Template.AsSpan(at).StartsWith(name) ? (name, value) : null;
        }
        return [new Message("user", text.ToString()) { Images = [.. prompt.SelectMany(message => message.Images)] }];
    }

    /// <summary>A conversation as the question: a single turn as it is; of several turns each begins with who spoke.</summary>
    public static string Question(IReadOnlyList<Message> prompt) =>
        prompt.Count == 1 ? prompt[0].Content : string.Join("\n\n", prompt.Select(message => $"{message.Role}: {message.Content}"));
}
