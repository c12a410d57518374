using XDeepServe.Models.Text;

namespace XDeepServe.Alignment.Prompts;

/// <summary>
/// The input behind which a preference is represented (LRHP, arXiv:2410.04503): question, two answers, and a token of its own whose last hidden
/// state is the representation. Training and extraction use the same one; at extraction the chosen answer stands first.
/// </summary>
public static class PreferencePrompt
{
    /// <summary>The token that ends the input. Training adds it to a vocabulary that lacks it.</summary>
    public const string Token = "<|PREFERENCE|>";

    /// <summary>The pair as text, without the token.</summary>
    public static string Text(IReadOnlyList<Message> prompt, string first, string second) =>
        $"""
        [User Question]
        {JudgePrompt.Question(prompt)}

        [The Start of Assistant A's Answer]
        {first}
        [The End of Assistant A's Answer]

        [The Start of Assistant B's Answer]
        {second}
        [The End of Assistant B's Answer]

        """.ReplaceLineEndings("\n");

    /// <summary>Token ids of the pair, without the token: what a text embedding reads.</summary>
    public static int[] EncodeText(Tokenizer tokenizer, IReadOnlyList<Message> prompt, string first, string second) =>
        tokenizer.Encode(Text(prompt, first, second), addSpecialTokens: true, parseSpecial: false);

    /// <summary>Token ids of the pair and the token.</summary>
    /// <exception cref="ArgumentException">The model does not know the token.</exception>
    public static int[] Encode(Tokenizer tokenizer, IReadOnlyList<Message> prompt, string first, string second) =>
        tokenizer.TryGetId(Token, out int id)
            ? [.. EncodeText(tokenizer, prompt, first, second), id]
            : throw new ArgumentException($"This model has no token {Token}: it was not trained to represent preferences.");
}
