using System.Text;

namespace XDeepServe.Models.Text;

/// <summary>A tokenizer as a GGUF file holds it (its keys under <c>tokenizer.</c>).</summary>
/// <param name="Kind">What kind it is (<c>ggml.model</c>): <see cref="ByteLevel"/> or <see cref="SentencePiece"/>.</param>
/// <param name="Tokens">Every token by id (<c>ggml.tokens</c>); ordinary ones of a byte-level model in the byte alphabet.</param>
/// <param name="Types">One type a token (<c>ggml.token_type</c>): 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.</param>
/// <param name="Merges">The merges of a byte-level model, lowest rank first, two tokens with a space between (<c>ggml.merges</c>).</param>
/// <param name="Scores">One score a token of a SentencePiece model (<c>ggml.scores</c>): the highest merges first.</param>
/// <param name="Pre">The name of the splitting rules (<c>ggml.pre</c>), for example <c>qwen2</c>; empty for GPT-2's.</param>
/// <param name="BosId">The token that begins a text (<c>ggml.bos_token_id</c>).</param>
/// <param name="EosId">The token that ends one (<c>ggml.eos_token_id</c>).</param>
/// <param name="AddBos">Whether a text is begun with <paramref name="BosId"/> (<c>ggml.add_bos_token</c>).</param>
/// <param name="AddSpace">Whether SentencePiece text is given a space at its start (<c>ggml.add_space_prefix</c>).</param>
/// <param name="ChatTemplate">The source of the chat template (<c>chat_template</c>).</param>
public sealed record GgufTokenizer(
    string Kind, IReadOnlyList<string> Tokens, IReadOnlyList<int> Types, IReadOnlyList<string> Merges, IReadOnlyList<float> Scores, string Pre,
    int? BosId, int? EosId, bool AddBos, bool AddSpace, string? ChatTemplate)
{
    /// <summary>The kind of byte-level models.</summary>
    public const string ByteLevel = "gpt2";

    /// <summary>The kind of SentencePiece's byte-pair models, such as Llama 2's.</summary>
    public const string SentencePiece = "llama";

    private const int Normal = 1, Unknown = 2, Control = 3, UserDefined = 4, Unused = 5, Byte = 6;

    /// <summary>Whether a token of this type is found in a text as a whole.</summary>
    internal static bool IsAdded(int type) => type is Control or UserDefined or Unknown;

    /// <summary>Reads what the parts say into tables.</summary>
    internal TokenizerContent Read()
    {
        if (Tokens.Count == 0)
            throw new TokenizerException("The GGUF file holds no tokenizer. Put the model's tokenizer.json beside it, or work on token ids only.");
        Check(Types.Count, "token types");
        var model = new BytePairModel(Kind == ByteLevel);
        var added = new List<AddedToken>();
        for (var id = 0; id < Tokens.Count; id++)
        {
            var type = Types.Count == 0 ? Normal : Types[id];
            if (IsAdded(type))
                added.Add(new(id, Tokens[id], Special: type != UserDefined, Normalized: false, SingleWord: false, StripLeft: false, StripRight: false));
            else if (type != Unused)
                model.AddToken(id, Encoding.UTF8.GetBytes(Tokens[id]));
            if (type == Unknown) // written where nothing else fits
                model.UnknownId = id;
        }
        var settings = TokenizerSettings.Of(Name(BosId, "bos"), Name(EosId, "eos"), ChatTemplate);
        var bos = AddBos ? BosId : null;
        switch (Kind)
        {
            case ByteLevel:
                model.IgnoreMerges = Pre is "llama-bpe" or "llama3" or "llama-v3" or "kimi-k2";
                for (var rank = 0; rank < Merges.Count; rank++)
                    model.AddMerge(rank, Encoding.UTF8.GetBytes(Merges[rank]));
                return new(model, added, TextPipeline.FromName(Pre, bos), settings);
            case SentencePiece:
                ReadScores(model);
                return new(model, added, TextPipeline.SentencePiece(AddSpace, bos), settings);
            default:
                throw new TokenizerException($"The GGUF file's tokenizer is of kind '{Kind}'; '{ByteLevel}' and '{SentencePiece}' can be read. "
                    + "Put the model's tokenizer.json beside it, or work on token ids only.");
        }
    }

    /// <summary>Writes a tokenizer's tables in this form.</summary>
    internal static GgufTokenizer Write(Tokenizer tokenizer, TokenizerContent content)
    {
        if (content.Model is not BytePairModel model)
            throw new TokenizerException("The tokenizer is a unigram model, which is not written to GGUF. Keep its tokenizer.json beside the file.");
        var pre = "";
        if (model.ByteLevel)
        {
            pre = content.Pipeline.Name
                ?? throw new TokenizerException("The tokenizer splits text by rules that have no name in GGUF. Keep its tokenizer.json beside the file.");
            if (pre == "llama-bpe" && !model.IgnoreMerges)
                pre = "glm4"; // the same words, but merged as any other
        }
        var tokens = new string[tokenizer.VocabularySize];
        var types = new int[tokens.Length];
        for (var id = 0; id < tokens.Length; id++)
        {
            var known = model.Tokens.Contains(id);
            tokens[id] = known ? tokenizer.Piece(id) : $"[PAD{id}]";
            types[id] = known ? Normal : Unused;
        }
        foreach (var token in content.Added)
            types[token.Id] = token.Special ? Control : UserDefined;
        if (model.UnknownId >= 0)
            types[model.UnknownId] = Unknown;
        foreach (var id in model.FallbackIds())
            if (id >= 0)
                types[id] = Byte;
        var merges = model.Merges.InOrder().ToArray();
        var prefix = content.Pipeline.Prefix.AsSpan();
        return new(
            model.ByteLevel ? ByteLevel : SentencePiece, tokens, types,
            model.ByteLevel ? [.. merges.Select(pair => $"{tokenizer.Piece(pair.Left)} {tokenizer.Piece(pair.Right)}")] : [],
            model.ByteLevel ? [] : WriteScores(tokens.Length, merges), pre, tokenizer.BosId, tokenizer.EosId,
            AddBos: tokenizer.BosId is { } bos && prefix.SequenceEqual([bos]),
            AddSpace: content.Pipeline.Normalize(" x") == "\u2581\u2581x", tokenizer.ChatTemplate);
    }

    private void ReadScores(BytePairModel model)
    {
        if (Scores.Count == 0)
            throw new TokenizerException("The GGUF file holds no scores of its tokens. Put the model's tokenizer.json beside it.");
        Check(Scores.Count, "scores");
        model.ByteFallback = true;
        // Equal scores share a rank: of such merges the leftmost goes first.
        var places = Scores.Distinct().OrderDescending().Select((score, rank) => (score, rank)).ToDictionary(pair => pair.score, pair => pair.rank);
        model.MergeByRank(id => Types.Count == 0 || Types[id] is Normal ? places[Scores[id]] : -1);
    }

    /// <summary>The scores that lead to the same merges: the earlier a token is merged, the higher.</summary>
    private static float[] WriteScores(int count, (int Left, int Right, int Merged)[] merges)
    {
        var scores = new float[count];
        var written = 0;
        foreach (var (_, _, merged) in merges)
            if (scores[merged] == 0)
                scores[merged] = -++written;
        for (var id = 0; id < count; id++)
            if (scores[id] == 0)
                scores[id] = -written - 1;
        return scores;
    }

    private void Check(int count, string what)
    {
        if (count != 0 && count != Tokens.Count)
            throw new TokenizerException($"The GGUF file holds {Tokens.Count} tokens but {count} {what}; it is damaged. Fetch or convert it again.");
    }

    private string? Name(int? id, string which) => id switch
    {
        null => null,
        >= 0 when id < Tokens.Count => Tokens[id.Value],
        _ => throw new TokenizerException($"The GGUF file names {id} as the {which} token but holds {Tokens.Count} tokens; it is damaged. Fetch or convert it again."),
    };
}
