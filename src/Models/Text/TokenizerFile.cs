using System.Text.Json;
using XDeepServe.Models.Text.Splitting;

namespace XDeepServe.Models.Text;

/// <summary>What a tokenizer.json holds. The small parts are kept as JSON, the large ones are read into tables.</summary>
internal sealed class TokenizerFile
{
    private readonly byte[] json;
    private readonly Dictionary<string, JsonElement> parts = [];
    private readonly Dictionary<string, JsonElement> modelParts = [];
    private long vocabularyAt = -1, mergesAt = -1;

    /// <summary>Reads a file.</summary>
    /// <param name="json">Its bytes.</param>
    public TokenizerFile(byte[] json)
    {
        this.json = json.AsSpan().StartsWith("\uFEFF"u8) ? json[3..] : json;
        Guard<object?>(() =>
        {
            Scan();
            return null;
        });
        if (vocabularyAt < 0)
            throw new TokenizerException("tokenizer.json holds no model with a vocabulary; it is not a Hugging Face tokenizer file.");
    }

    /// <summary>Reads all of it, together with what stands beside it.</summary>
    public TokenizerContent Read(TokenizerSettings settings) => Guard(() =>
    {
        var model = ReadModel();
        return new TokenizerContent(model, [.. AddedTokenReader.Read(this, settings)], TextPipeline.Read(this, model.ByteLevel), settings);
    });

    /// <summary>A part of the file at its top level, null if absent.</summary>
    public JsonElement? Part(string name) =>
        parts.TryGetValue(name, out var part) && part.ValueKind != JsonValueKind.Null ? part : null;

    /// <summary>A setting of the model, null if absent.</summary>
    private JsonElement? ModelPart(string name) =>
        modelParts.TryGetValue(name, out var part) && part.ValueKind != JsonValueKind.Null ? part : null;

    private static T Guard<T>(Func<T> read)
    {
        try
        {
            return read();
        }
        catch (JsonException error)
        {
            throw new TokenizerException($"tokenizer.json is not valid JSON: {error.Message} Fetch it again.", error);
        }
        catch (Exception error) when (error is InvalidOperationException or FormatException or KeyNotFoundException or IndexOutOfRangeException)
        {
            throw new TokenizerException($"tokenizer.json is not laid out as a Hugging Face tokenizer: {error.Message}", error);
        }
    }

    /// <summary>One pass over the file that remembers where the two large parts begin.</summary>
    private void Scan()
    {
        var reader = new Utf8JsonReader(json);
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var name = reader.GetString()!;
            reader.Read();
            if (name == "model" && reader.TokenType == JsonTokenType.StartObject)
            {
                while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
                {
                    name = reader.GetString()!;
                    reader.Read();
                    if (name == "vocab")
                        vocabularyAt = reader.TokenStartIndex;
                    else if (name == "merges")
                        mergesAt = reader.TokenStartIndex;
                    else
                        modelParts[name] = JsonElement.ParseValue(ref reader);
                    reader.Skip();
                }
            }
            else
            {
                parts[name] = JsonElement.ParseValue(ref reader);
            }
        }
    }

    private TokenModel ReadModel()
    {
        var byteLevel = PreTokenizerReader.IsByteLevel(Part("pre_tokenizer"), Part("normalizer"));
        // Old files do not name the kind: only unigram models list their vocabulary.
        var type = ModelPart("type")?.GetString() ?? (json[vocabularyAt] == '[' ? "Unigram" : "BPE");
        var fallback = ModelPart("byte_fallback") is { ValueKind: JsonValueKind.True };
        switch (type)
        {
            case "BPE":
                foreach (var affix in (ReadOnlySpan<string>)["continuing_subword_prefix", "end_of_word_suffix"])
                    if (ModelPart(affix) is { } value && value.GetString() is { Length: > 0 } text)
                        throw Settings.Unsupported($"model setting {affix}", text);
                var pairs = new BytePairModel(byteLevel)
                {
                    ByteFallback = fallback,
                    IgnoreMerges = ModelPart("ignore_merges") is { ValueKind: JsonValueKind.True },
                    FuseUnknown = ModelPart("fuse_unk") is { ValueKind: JsonValueKind.True },
                };
                ReadVocabulary(pairs);
                ReadMerges(pairs);
                if (ModelPart("unk_token") is { } unknown)
                    pairs.UnknownId = pairs.Find(System.Text.Encoding.UTF8.GetBytes(Settings.Text(unknown)));
                return pairs;
            case "Unigram":
                var unigram = new UnigramModel(byteLevel) { ByteFallback = fallback };
                ReadScores(unigram);
                if (ModelPart("unk_id") is { } id)
                    unigram.UnknownId = id.GetInt32() is var place && place >= 0 && place < unigram.Scores.Count ? place
                        : throw new TokenizerException($"tokenizer.json names {place} as the unknown token but lists {unigram.Scores.Count} tokens.");
                return unigram;
            default:
                throw Settings.Unsupported("model", type);
        }
    }

    private void ReadVocabulary(TokenModel model)
    {
        var reader = new Utf8JsonReader(json.AsSpan((int)vocabularyAt), isFinalBlock: false, default);
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
            throw new TokenizerException("The vocabulary in tokenizer.json is not an object, as that of a byte-pair model is.");
        var text = new byte[256];
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var length = CopyText(ref reader, ref text);
            reader.Read();
            model.AddToken(reader.GetInt32(), text.AsSpan(0, length));
        }
    }

    private void ReadScores(UnigramModel model)
    {
        var reader = new Utf8JsonReader(json.AsSpan((int)vocabularyAt), isFinalBlock: false, default);
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartArray)
            throw new TokenizerException("The vocabulary in tokenizer.json is not a list, as that of a unigram model is.");
        var text = new byte[256];
        while (reader.Read() && reader.TokenType == JsonTokenType.StartArray)
        {
            reader.Read();
            var length = CopyText(ref reader, ref text);
            reader.Read();
            model.AddScored(text.AsSpan(0, length), reader.GetDouble());
            reader.Read();
            if (reader.TokenType != JsonTokenType.EndArray)
                throw new FormatException("an entry of the vocabulary is not a token and its score.");
        }
    }

    private void ReadMerges(BytePairModel model)
    {
        if (mergesAt < 0)
            throw new TokenizerException("tokenizer.json holds no merges, which a byte-pair model needs.");
        var reader = new Utf8JsonReader(json.AsSpan((int)mergesAt), isFinalBlock: false, default);
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartArray)
            throw new TokenizerException("The merges in tokenizer.json are not a list.");
        var left = new byte[256];
        var right = new byte[256];
        for (var rank = 0; reader.Read() && reader.TokenType != JsonTokenType.EndArray; rank++)
        {
            if (reader.TokenType == JsonTokenType.StartArray)
            {
                reader.Read();
                var first = CopyText(ref reader, ref left);
                reader.Read();
                var second = CopyText(ref reader, ref right);
                reader.Read();
                model.AddMerge(rank, left.AsSpan(0, first), right.AsSpan(0, second));
            }
            else
            {
                var line = CopyText(ref reader, ref left);
                model.AddMerge(rank, left.AsSpan(0, line));
            }
        }
    }

    private static int CopyText(ref Utf8JsonReader reader, ref byte[] buffer)
    {
        if (buffer.Length < reader.ValueSpan.Length)
            buffer = new byte[reader.ValueSpan.Length * 2];
        return reader.CopyString(buffer);
    }
}
