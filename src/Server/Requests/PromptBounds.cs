using System.Text;
using XDeepServe.Models.Text;
using XDeepServe.Server.Http;

namespace XDeepServe.Server.Requests;

/// <summary>Makes ids of prompts and checks that prompt and answer fit the model.</summary>
internal sealed class PromptBounds(ServedModel model, CommonFields common, string promptField)
{
    /// <summary>Ids of a conversation.</summary>
    /// <param name="chat">The conversation.</param>
    /// <param name="text">Its text, rendered.</param>
    /// <exception cref="ApiException">400 for a server without a tokenizer, or a text that cannot fit.</exception>
    public int[] Encode(ChatPrompt chat, string text) => Encode(text, tokenizer => chat.Encode(tokenizer, text));

    /// <summary>Ids of a text.</summary>
    /// <param name="text">The text.</param>
    /// <param name="addSpecialTokens">Whether the tokens that the model wants around a text are added.</param>
    /// <param name="first">Keeps so many tokens, the first; null for all.</param>
    /// <exception cref="ApiException">400 for a server without a tokenizer, or a text that cannot fit.</exception>
    public int[] Encode(string text, bool addSpecialTokens, int? first = null) =>
        Encode(text, tokenizer => tokenizer.Encode(text, addSpecialTokens) is var ids && first < ids.Length ? ids[..first.Value] : ids, first is not null);

    private int[] Encode(string text, Func<Tokenizer, int[]> split, bool cut = false)
    {
        if (model.Tokenizer is not { } tokenizer)
        {
            throw ApiException.BadRequest($"This server works on token ids only; give '{promptField}' as token ids.", promptField);
        }
        if (!cut)
        {
            RefuseHopeless(tokenizer, text);
        }
        return Check(split(tokenizer));
    }

    /// <summary>Checks and shortens a prompt's ids.</summary>
    public int[] Check(int[] ids)
    {
        if (ids.Length == 0)
        {
            throw ApiException.BadRequest($"'{promptField}' must not be empty.", promptField);
        }
        foreach (int id in ids)
        {
            if (id < 0 || id >= model.VocabularySize)
            {
                throw ApiException.BadRequest($"'{promptField}' holds the token id {id}, but the model knows 0 to {model.VocabularySize - 1}.", promptField);
            }
        }
        int[] kept = common.TruncatePrompt switch
        {
            null => ids,
            -1 => Last(ids, model.MaxModelLength - Math.Max(1, common.MaxTokens ?? 1)),
            { } count => Last(ids, count),
        };
        return kept.Length < model.MaxModelLength ? kept : throw TooLong($"{kept.Length}");
    }

    /// <summary>Most new tokens for a prompt.</summary>
    /// <param name="prompt">Length of the prompt.</param>
    /// <param name="fallback">Used where the client set none; null for as many as fit.</param>
    public int NewTokens(int prompt, int? fallback)
    {
        int room = model.MaxModelLength - prompt;
        if (common.MaxTokens is not { } wanted)
        {
            return Math.Min(room, fallback ?? room);
        }
        return wanted <= room
            ? wanted
            : throw ApiException.BadRequest(
                $"This model's maximum context length is {model.MaxModelLength} tokens, but the prompt has {prompt} and '{common.MaxTokensField}' asks for {wanted} more. Lower '{common.MaxTokensField}' to {room} or shorten the prompt.",
                common.MaxTokensField);
    }

    // Composing characters makes a text at most this much shorter.
    private const int Composition = 3;

    // A text that is too long however it is split need not be split: no token stands for more bytes than the longest one.
    private void RefuseHopeless(Tokenizer tokenizer, string text)
    {
        if (common.TruncatePrompt is not null || text.Length <= model.MaxModelLength)
        {
            return;
        }
        int least = Encoding.UTF8.GetByteCount(text) / (LongestToken(tokenizer) * Composition);
        if (least >= model.MaxModelLength)
        {
            throw TooLong($"at least {least}");
        }
    }

    private static int LongestToken(Tokenizer tokenizer)
    {
        int longest = 1;
        for (int id = 0; id < tokenizer.VocabularySize; id++)
        {
            longest = Math.Max(longest, tokenizer.Bytes(id).Length);
        }
        return longest;
    }

    private ApiException TooLong(string length) => ApiException.BadRequest(
        $"This model's maximum context length is {model.MaxModelLength} tokens, but the prompt has {length} and at least one token must be left for the answer. Shorten the prompt.",
        promptField);

    private static int[] Last(int[] ids, int count) => count >= ids.Length ? ids : ids[^Math.Max(1, count)..];
}
