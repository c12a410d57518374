using System.Text.Json;

namespace XDeepServe.Models.Text;

/// <summary>What a tokenizer.json holds. The small parts are kept as JSON, vocabulary and merges are read into tables.</summary>
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
        try
        {
            Scan();
            if (vocabularyAt < 0)
                throw new TokenizerException("tokenizer.json holds no model with a vocabulary; it is not a Hugging Face tokenizer file.");
            ReadVocabulary();
            ReadMerges();
            Model.IgnoreMerges = ModelPart("ignore_merges") is { ValueKind: JsonValueKind.True };
        }
        catch (JsonException error)
        {
            throw new TokenizerException($"tokenizer.json is not valid JSON: {error.Message} Fetch it again.", error);
        }
        catch (Exception error) when (error is InvalidOperationException or FormatException)
        {
            throw new TokenizerException($"tokenizer.json is not laid out as a Hugging Face tokenizer: {error.Message}", error);
        }
    }

    /// <summary>Vocabulary and merges.</summary>
    public BytePairModel Model { get; } = new();

    /// <summary>Reads all of it, together with what stands beside it.</summary>
    public TokenizerContent Read(TokenizerSettings settings)
    {
        try
        {
            return new(Model, [.. AddedTokenReader.Read(this, settings)], TextPipeline.Read(this), settings);
        }
        catch (Exception error) when (error is InvalidOperationException or FormatException or KeyNotFoundException or IndexOutOfRangeException)
        {
            throw new TokenizerException($"tokenizer.json is not laid out as a Hugging Face tokenizer: {error.Message}", error);
        }
    }

    /// <summary>A part of the file at its top level, null if absent.</summary>
    public JsonElement? Part(string name) =>
        parts.TryGetValue(name, out var part) && part.ValueKind != JsonValueKind.Null ? part : null;

    /// <summary>A setting of the model, null if absent.</summary>
    public JsonElement? ModelPart(string name) =>
        modelParts.TryGetValue(name, out var part) && part.ValueKind != JsonValueKind.Null ? part : null;

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

    private void ReadVocabulary()
    {
        var reader = new Utf8JsonReader(json.AsSpan((int)vocabularyAt), isFinalBlock: false, default);
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
            throw new TokenizerException("The vocabulary in tokenizer.json is not an object; only byte-pair models (\"type\": \"BPE\") are supported.");
        var text = new byte[256];
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var length = CopyText(ref reader, ref text);
            reader.Read();
            Model.AddToken(reader.GetInt32(), text.AsSpan(0, length));
        }
    }

    private void ReadMerges()
    {
        if (mergesAt < 0)
            throw new TokenizerException("tokenizer.json holds no merges; only byte-pair models (\"type\": \"BPE\") are supported.");
        var reader = new Utf8JsonReader(json.AsSpan((int)mergesAt), isFinalBlock: false, default);
        reader.Read();
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
                Model.AddMerge(rank, left.AsSpan(0, first), right.AsSpan(0, second));
            }
            else
            {
                var line = CopyText(ref reader, ref left);
                Model.AddMerge(rank, left.AsSpan(0, line));
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
