using System.Text;
using System.Text.Json;
using XDeepServe.Models.Text.Normalizing;
using XDeepServe.Models.Text.Splitting;

namespace XDeepServe.Models.Text;

/// <summary>A byte-level byte-pair tokenizer, read from a Hugging Face tokenizer.json. Never changes; any thread may use it.</summary>
public sealed class Tokenizer
{
    private readonly TokenizerContent content;
    private readonly ByteTable vocabulary;
    private readonly BytePairEncoder encoder;
    private readonly TextPipeline pipeline;
    private readonly AddedTokens rawTokens, normalizedTokens;
    private readonly Dictionary<string, int> names = [];        // added tokens and those outside the byte alphabet
    private readonly Dictionary<int, AddedToken> added = [];
    private readonly HashSet<int> others = [];                  // ids of tokens outside the byte alphabet
    private readonly bool[] special;                            // [ids]
    private readonly string?[] texts;                           // [ids] filled on demand, see WholeText

    private Tokenizer(TokenizerContent content)
    {
        this.content = content;
        vocabulary = content.Model.Tokens;
        pipeline = content.Pipeline;
        encoder = new BytePairEncoder(vocabulary, content.Model.Merges, content.Model.IgnoreMerges);
        foreach (var (name, id) in content.Model.OtherNames)
        {
            names[name] = id;
            others.Add(id);
        }
        foreach (var token in content.Added)
            Add(token);
        rawTokens = new AddedTokens(added.Values.Where(token => !token.Normalized).Select(token => (token, token.Content)));
        normalizedTokens = new AddedTokens(added.Values.Where(token => token.Normalized).Select(token => (token, Normalize(token.Content))));
        special = new bool[vocabulary.Count];
        texts = new string?[vocabulary.Count];
        foreach (var token in added.Values)
            special[token.Id] = token.Special;
        var settings = content.Settings;
        (BosToken, EosToken, ChatTemplate) = (settings.BosToken, settings.EosToken, settings.ChatTemplate);
        BosId = BosToken is not null && TryGetId(BosToken, out var bos) ? bos : null;
        EosId = EosToken is not null && TryGetId(EosToken, out var eos) ? eos : null;
    }

    /// <summary>One more than the highest token id.</summary>
    public int VocabularySize => vocabulary.Count;

    /// <summary>The token that begins a text, if the model has one.</summary>
    public string? BosToken { get; }

    /// <summary>The token that ends a text or a turn.</summary>
    public string? EosToken { get; }

    /// <summary>The id of <see cref="BosToken"/>.</summary>
    public int? BosId { get; }

    /// <summary>The id of <see cref="EosToken"/>.</summary>
    public int? EosId { get; }

    /// <summary>The source of the chat template that came with the tokenizer.</summary>
    public string? ChatTemplate { get; }

    /// <summary>Reads the tokenizer of a model folder.</summary>
    /// <param name="folder">Holds tokenizer.json; tokenizer_config.json, special_tokens_map.json and chat_template.jinja are read too where present.</param>
    /// <exception cref="TokenizerException">A file is missing, broken or asks for what is not supported.</exception>
    public static Tokenizer FromFolder(string folder)
    {
        var path = Path.Combine(folder, "tokenizer.json");
        if (!File.Exists(path))
            throw new TokenizerException($"{folder} holds no tokenizer.json. Put the model's tokenizer there, or work on token ids only.");
        byte[]? Optional(string name) => File.Exists(Path.Combine(folder, name)) ? File.ReadAllBytes(Path.Combine(folder, name)) : null;
        var template = Optional("chat_template.jinja");
        var settings = TokenizerSettings.Read(
            Optional("tokenizer_config.json"), Optional("special_tokens_map.json"), template is null ? null : Encoding.UTF8.GetString(template));
        return new Tokenizer(new TokenizerFile(File.ReadAllBytes(path)).Read(settings));
    }

    /// <summary>Reads a tokenizer from the content of its files.</summary>
    /// <param name="tokenizerJson">tokenizer.json.</param>
    /// <param name="tokenizerConfigJson">tokenizer_config.json, if there is one.</param>
    /// <exception cref="TokenizerException">A file is broken or asks for what is not supported.</exception>
    public static Tokenizer FromJson(byte[] tokenizerJson, byte[]? tokenizerConfigJson = null) =>
        new(new TokenizerFile(tokenizerJson).Read(TokenizerSettings.Read(tokenizerConfigJson, null, null)));

    /// <summary>Makes a tokenizer from what a GGUF file holds.</summary>
    /// <param name="parts">The tokenizer's parts.</param>
    /// <exception cref="TokenizerException">They are damaged or ask for what is not supported.</exception>
    public static Tokenizer FromGguf(GgufTokenizer parts) => new(parts.Read());

    /// <summary>The tokenizer as a GGUF file holds it.</summary>
    /// <exception cref="TokenizerException">It splits text by rules that have no name in GGUF.</exception>
    public GgufTokenizer ToGguf() => GgufTokenizer.Write(this, content);

    /// <summary>Turns text into token ids. Lone surrogates are read as U+FFFD.</summary>
    /// <param name="text">The text.</param>
    /// <param name="addSpecialTokens">Whether the tokens that the model wants around a text are added.</param>
    /// <param name="parseSpecial">Whether special tokens written in the text become those tokens; if not, they are text.</param>
    public int[] Encode(ReadOnlySpan<char> text, bool addSpecialTokens = false, bool parseSpecial = true)
    {
        using var ids = new IdList(text.Length / 3);
        if (addSpecialTokens)
            ids.Add(pipeline.Prefix);
        var source = text.ToString();
        if (text.IndexOfAnyInRange('\uD800', '\uDFFF') >= 0)
            source = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(source));
        PieceList pieces = new(), scratch = new(), next = new();
        rawTokens.Split(source, parseSpecial, (start, length, token) =>
        {
            if (token is not null)
            {
                ids.Add(token.Id);
                return;
            }
            var part = Normalize(length == source.Length ? source : source.Substring(start, length));
            normalizedTokens.Split(part, parseSpecial, (start, length, token) =>
            {
                if (token is not null)
                    ids.Add(token.Id);
                else
                    EncodePart(part.AsSpan(start, length));
            });
        });
        if (addSpecialTokens)
            ids.Add(pipeline.Suffix);
        return ids.Span.ToArray();

        void EncodePart(ReadOnlySpan<char> part)
        {
            if (pipeline.PrefixSpace && part[0] != ' ')
                part = string.Concat(" ", part);
            pieces.Clear();
            pieces.Add(0, part.Length);
            foreach (var splitter in pipeline.Splitters)
            {
                next.Clear();
                foreach (var (start, length) in pieces.Span)
                    splitter.Split(part.Slice(start, length), start, scratch, next);
                (pieces, next) = (next, pieces);
            }
            foreach (var (start, length) in pieces.Span)
                encoder.Encode(part.Slice(start, length), ids);
        }
    }

    /// <summary>Turns token ids into text. Bytes that are no UTF-8 become U+FFFD; unknown ids are skipped.</summary>
    /// <param name="ids">The ids.</param>
    /// <param name="skipSpecialTokens">Whether special tokens are left out.</param>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens = false)
    {
        var bytes = new MemoryStream(ids.Length * 4);
        foreach (var id in ids)
            if (!(skipSpecialTokens && IsSpecial(id)))
                bytes.Write(vocabulary[id]);
        return Encoding.UTF8.GetString(bytes.GetBuffer().AsSpan(0, (int)bytes.Length));
    }

    /// <summary>Starts decoding a sequence whose tokens come one at a time.</summary>
    /// <param name="skipSpecialTokens">Whether special tokens are left out.</param>
    public IncrementalDecoder CreateDecoder(bool skipSpecialTokens = false) => new(this, skipSpecialTokens);

    /// <summary>The bytes a token stands for; not always whole characters. Empty for an unknown id.</summary>
    public ReadOnlySpan<byte> Bytes(int id) => vocabulary[id];

    /// <summary>A token as the vocabulary writes it, for example <c>Ġthe</c>; empty for an unknown id.</summary>
    public string Piece(int id)
    {
        if (added.TryGetValue(id, out var token))
            return token.Content;
        return others.Contains(id) ? Encoding.UTF8.GetString(vocabulary[id]) : ByteAlphabet.ToText(vocabulary[id]);
    }

    /// <summary>Whether a token is a special one: it steers the model and is no text.</summary>
    public bool IsSpecial(int id) => (uint)id < (uint)special.Length && special[id];

    /// <summary>Finds the id of a token as the vocabulary writes it, for example <c>&lt;|im_end|&gt;</c> or <c>Ġthe</c>.</summary>
    public bool TryGetId(string token, out int id)
    {
        if (names.TryGetValue(token, out id))
            return true;
        var utf8 = Encoding.UTF8.GetBytes(token);
        var bytes = new byte[utf8.Length];
        id = ByteAlphabet.TryToBytes(utf8, bytes, out var length) ? vocabulary.Find(bytes.AsSpan(0, length)) : -1;
        return id >= 0;
    }

    /// <summary>The text of a token that is whole characters by itself, made once; null for others.</summary>
    internal string? WholeText(int id)
    {
        if ((uint)id >= (uint)texts.Length)
            return null;
        if (texts[id] is { } known)
            return known;
        var bytes = vocabulary[id];
        return bytes.IsEmpty || !System.Text.Unicode.Utf8.IsValid(bytes) ? null : texts[id] = Encoding.UTF8.GetString(bytes);
    }

    private string Normalize(string text) => pipeline.Compose ? CanonicalComposition.Normalize(text) : text;

    private void Add(AddedToken token)
    {
        var utf8 = Encoding.UTF8.GetBytes(token.Content);
        var bytes = new byte[utf8.Length];
        if (!vocabulary.Contains(token.Id))
            // Decoding reads a token in the byte alphabet where it can, added ones not excepted.
            vocabulary.Add(token.Id, ByteAlphabet.TryToBytes(utf8, bytes, out var length) ? bytes.AsSpan(0, length) : utf8, findable: false);
        names[token.Content] = token.Id;
        added[token.Id] = token;
    }
}
