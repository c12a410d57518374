namespace XDeepServe.Models.Text;

/// <summary>A byte-level tokenizer as a GGUF file holds it (its keys under <c>tokenizer.</c>).</summary>
/// <param name="Tokens">Every token by id, ordinary ones in the byte alphabet (<c>ggml.tokens</c>).</param>
/// <param name="Types">One type a token (<c>ggml.token_type</c>): 1 normal, 3 control, 4 user-defined, 5 unused.</param>
/// <param name="Merges">The merges, lowest rank first, two tokens with a space between (<c>ggml.merges</c>).</param>
/// <param name="Pre">The name of the splitting rules (<c>ggml.pre</c>), for example <c>qwen2</c>; empty for GPT-2's.</param>
/// <param name="BosId">The token that begins a text (<c>ggml.bos_token_id</c>).</param>
/// <param name="EosId">The token that ends one (<c>ggml.eos_token_id</c>).</param>
/// <param name="AddBos">Whether a text is begun with <paramref name="BosId"/> (<c>ggml.add_bos_token</c>).</param>
/// <param name="ChatTemplate">The source of the chat template (<c>chat_template</c>).</param>
public sealed record GgufTokenizer(
    IReadOnlyList<string> Tokens, IReadOnlyList<int> Types, IReadOnlyList<string> Merges, string Pre,
    int? BosId, int? EosId, bool AddBos, string? ChatTemplate)
{
    private const int Normal = 1, Control = 3, UserDefined = 4, Unused = 5;

    /// <summary>Whether a token of this type is found in a text as a whole.</summary>
    internal static bool IsAdded(int type) => type is Control or UserDefined;

    /// <summary>Reads what the parts say into tables.</summary>
    internal TokenizerContent Read()
    {
        if (Tokens.Count == 0)
            throw new TokenizerException("The GGUF file holds no tokenizer. Put the model's tokenizer.json beside it, or work on token ids only.");
        if (Types.Count != 0 && Types.Count != Tokens.Count)
            throw new TokenizerException($"The GGUF file holds {Tokens.Count} tokens but {Types.Count} token types; it is damaged. Fetch or convert it again.");
        var model = new BytePairModel { IgnoreMerges = Pre is "llama-bpe" or "llama3" or "llama-v3" };
        var added = new List<AddedToken>();
        for (var id = 0; id < Tokens.Count; id++)
        {
            var type = Types.Count == 0 ? Normal : Types[id];
            if (IsAdded(type))
                added.Add(new(id, Tokens[id], Special: type == Control, Normalized: false, SingleWord: false, StripLeft: false, StripRight: false));
            else if (type != Unused)
                model.AddToken(id, System.Text.Encoding.UTF8.GetBytes(Tokens[id]));
        }
        for (var rank = 0; rank < Merges.Count; rank++)
            model.AddMerge(rank, System.Text.Encoding.UTF8.GetBytes(Merges[rank]));
        var settings = new TokenizerSettings(Name(BosId, "bos"), Name(EosId, "eos"), ChatTemplate, AddedTokens: null);
        return new(model, added, TextPipeline.FromName(Pre, AddBos ? BosId : null), settings);
    }

    /// <summary>Writes a tokenizer's tables in this form.</summary>
    internal static GgufTokenizer Write(Tokenizer tokenizer, TokenizerContent content)
    {
        var pre = content.Pipeline.Name
            ?? throw new TokenizerException("The tokenizer splits text by rules that have no name in GGUF. Keep its tokenizer.json beside the file.");
        var tokens = new string[tokenizer.VocabularySize];
        var types = new int[tokens.Length];
        for (var id = 0; id < tokens.Length; id++)
        {
            var known = content.Model.Tokens.Contains(id);
            tokens[id] = known ? tokenizer.Piece(id) : $"[PAD{id}]";
            types[id] = known ? Normal : Unused;
        }
        foreach (var token in content.Added)
            types[token.Id] = token.Special ? Control : UserDefined;
        var merges = content.Model.Merges.InOrder().Select(pair => $"{tokenizer.Piece(pair.Left)} {tokenizer.Piece(pair.Right)}");
        var addBos = tokenizer.BosId is { } bos && content.Pipeline.Prefix.AsSpan().SequenceEqual([bos]);
        return new(tokens, types, [.. merges], pre, tokenizer.BosId, tokenizer.EosId, addBos, tokenizer.ChatTemplate);
    }

    private string? Name(int? id, string which) => id switch
    {
        null => null,
        >= 0 when id < Tokens.Count => Tokens[id.Value],
        _ => throw new TokenizerException($"The GGUF file names {id} as the {which} token but holds {Tokens.Count} tokens; it is damaged. Fetch or convert it again."),
    };
}
