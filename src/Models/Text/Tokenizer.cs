using System.Text;
using XDeepServe.Models.Text.Decoding;

namespace XDeepServe.Models.Text;

/// <summary>
/// A model's tokenizer, read from a Hugging Face tokenizer.json, a tiktoken.model or a GGUF file. Never changes; any thread
/// may use it.
/// </summary>
public sealed class Tokenizer
{
    private const string JsonFile = "tokenizer.json", RankFile = "tiktoken.model";

    private readonly TokenizerContent content;
    private readonly TokenModel model;
    private readonly TextPipeline pipeline;
    private readonly PieceEncoder encoder;
    private readonly Detokenizer detokenizer;
    private readonly AddedTokens rawTokens, normalizedTokens, writtenTokens;
    private readonly Dictionary<string, int> names = [];        // added tokens
    private readonly Dictionary<int, AddedToken> added = [];
    private readonly bool[] special;                            // [ids]

    private Tokenizer(TokenizerContent content)
    {
        (this.content, model, pipeline) = (content, content.Model, content.Pipeline);
        encoder = model.CreateEncoder();
        foreach (var token in content.Added)
            Add(token);
        rawTokens = new AddedTokens(added.Values.Where(token => !token.Normalized).Select(token => (token, token.Content)));
        normalizedTokens = new AddedTokens(added.Values.Where(token => token.Normalized).Select(token => (token, pipeline.Normalize(token.Content))));
        writtenTokens = new AddedTokens(added.Values.Where(token => token.Special).Select(token => (token, token.Content)));
        detokenizer = pipeline.Rules is { } rules ? new PieceDetokenizer(model.Tokens, rules) : new ByteDetokenizer(model.Tokens);
        special = new bool[model.Tokens.Count];
        foreach (var token in added.Values)
            special[token.Id] = token.Special;
        var settings = content.Settings;
        (BosToken, EosToken, ChatTemplate) = (settings.BosToken, settings.EosToken, settings.ChatTemplate);
        BosId = BosToken is not null && TryGetId(BosToken, out var bos) ? bos : null;
        EosId = EosToken is not null && TryGetId(EosToken, out var eos) ? eos : null;
    }

    /// <summary>One more than the highest token id.</summary>
    public int VocabularySize => model.Tokens.Count;

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

    /// <summary>Reads <see cref="ChatTemplate"/>, with the special tokens as its variables; null if there is none.</summary>
    /// <exception cref="TemplateException">It is broken or uses what is not supported.</exception>
    public ChatTemplate? CreateTemplate() => ChatTemplate is null ? null : Text.ChatTemplate.Parse(ChatTemplate, content.Settings.SpecialTokens);

    /// <summary>Whether a folder holds a tokenizer.</summary>
    public static bool IsIn(string folder) => File.Exists(Path.Combine(folder, JsonFile)) || File.Exists(Path.Combine(folder, RankFile));

    /// <summary>Reads the tokenizer of a model folder.</summary>
    /// <param name="folder">Holds tokenizer.json or tiktoken.model; tokenizer_config.json and its companions are read too where present.</param>
    /// <exception cref="TokenizerException">A file is missing, broken or asks for what is not supported.</exception>
    public static Tokenizer FromFolder(string folder)
    {
        if (!IsIn(folder))
            throw new TokenizerException($"{folder} holds no {JsonFile}. Put the model's tokenizer there, or work on token ids only.");
        var settings = TokenizerSettings.FromFolder(folder);
        return new Tokenizer(File.Exists(Path.Combine(folder, JsonFile))
            ? new TokenizerFile(File.ReadAllBytes(Path.Combine(folder, JsonFile))).Read(settings)
            : TiktokenFile.Read(File.ReadAllBytes(Path.Combine(folder, RankFile)), settings));
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

    /// <summary>Stands before a special token that is text. Unicode keeps it from being a character.</summary>
    private const char QuoteMark = '\uFDD0';

    /// <summary>Marks the special tokens that are written in a text, which may then become part of another text: <see cref="EncodeQuoted"/> reads them as text.</summary>
    /// <param name="text">For example what a user wrote. A mark that it holds already is left out.</param>
    public string Quote(string text) => writtenTokens.Quote(text.Contains(QuoteMark) ? text.Replace($"{QuoteMark}", "", StringComparison.Ordinal) : text, QuoteMark);

    /// <summary>Turns text into token ids; special tokens become those tokens but for those that <see cref="Quote"/> marked, which are text.</summary>
    /// <param name="text">The text.</param>
    /// <param name="addSpecialTokens">Whether the tokens that the model wants around a text are added.</param>
    public int[] EncodeQuoted(ReadOnlySpan<char> text, bool addSpecialTokens = false) => Encode(text, addSpecialTokens, parseSpecial: true, text.Contains(QuoteMark) ? QuoteMark : null);

    /// <summary>Turns text into token ids. Lone surrogates are read as U+FFFD.</summary>
    /// <param name="text">The text.</param>
    /// <param name="addSpecialTokens">Whether the tokens that the model wants around a text are added.</param>
    /// <param name="parseSpecial">Whether special tokens written in the text become those tokens; if not, they are text.</param>
    public int[] Encode(ReadOnlySpan<char> text, bool addSpecialTokens = false, bool parseSpecial = true) => Encode(text, addSpecialTokens, parseSpecial, null);

    private int[] Encode(ReadOnlySpan<char> text, bool addSpecialTokens, bool parseSpecial, char? quote)
    {
        using var ids = new IdList(text.Length / 3);
        if (addSpecialTokens)
            ids.Add(pipeline.Prefix);
        var source = text.ToString();
        if (text.IndexOfAnyInRange('\uD800', '\uDFFF') >= 0)
            source = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(source));
        var buffer = new PieceBuffer();
        rawTokens.Split(source, parseSpecial, quote, (start, length, token) =>
        {
            if (token is not null)
            {
                ids.Add(token.Id);
                return;
            }
            var first = start == 0;
            var part = pipeline.Normalize(length == source.Length ? source : source.Substring(start, length));
            normalizedTokens.Split(part, parseSpecial, quote, (start, length, token) =>
            {
                if (token is not null)
                    ids.Add(token.Id);
                else
                    EncodePart(part.AsMemory(start, length), first && start == 0);
            });
        });
        if (addSpecialTokens)
            ids.Add(pipeline.Suffix);
        return ids.Span.ToArray();

        void EncodePart(ReadOnlyMemory<char> part, bool first)
        {
            buffer.Reset(quote is { } mark ? part.ToString().Replace($"{mark}", "", StringComparison.Ordinal).AsMemory() : part, first);
            foreach (var step in pipeline.PreTokenizers)
                step.Run(buffer);
            var pieces = buffer.Text.Span;
            foreach (var (start, length) in buffer.Pieces)
                encoder.Encode(pieces.Slice(start, length), ids);
        }
    }

    /// <summary>Turns token ids into text. Bytes that are no UTF-8 become U+FFFD; unknown ids are skipped.</summary>
    /// <param name="ids">The ids.</param>
    /// <param name="skipSpecialTokens">Whether special tokens are left out.</param>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens = false) => detokenizer.Decode(ids, skipSpecialTokens ? IsSpecial : null);

    /// <summary>Starts decoding a sequence whose tokens come one at a time.</summary>
    /// <param name="skipSpecialTokens">Whether special tokens are left out.</param>
    public IncrementalDecoder CreateDecoder(bool skipSpecialTokens = false) => detokenizer.Start(skipSpecialTokens ? IsSpecial : null);

    /// <summary>The bytes a token stands for within a text; not always whole characters. Empty for an unknown id.</summary>
    public ReadOnlySpan<byte> Bytes(int id) => detokenizer.Bytes(id);

    /// <summary>A token as the vocabulary writes it, for example <c>Ġthe</c>; empty for an unknown id.</summary>
    public string Piece(int id) => added.TryGetValue(id, out var token) ? token.Content : model.Name(id);

    /// <summary>Whether a token is a special one: it steers the model and is no text.</summary>
    public bool IsSpecial(int id) => (uint)id < (uint)special.Length && special[id];

    /// <summary>Finds the id of a token as the vocabulary writes it, for example <c>&lt;|im_end|&gt;</c> or <c>Ġthe</c>.</summary>
    public bool TryGetId(string token, out int id)
    {
        if (names.TryGetValue(token, out id))
            return true;
        id = model.Find(Encoding.UTF8.GetBytes(token));
        return id >= 0;
    }

    private void Add(AddedToken token)
    {
        var utf8 = Encoding.UTF8.GetBytes(token.Content);
        var bytes = new byte[utf8.Length];
        if (!model.Tokens.Contains(token.Id))
            // Decoding reads a token in the byte alphabet where it can, added ones not excepted.
            model.Tokens.Add(token.Id, model.ByteLevel && ByteAlphabet.TryToBytes(utf8, bytes, out var length) ? bytes.AsSpan(0, length) : utf8, findable: false);
        names[token.Content] = token.Id;
        added[token.Id] = token;
    }
}
