using System.Text;
using System.Text.Json;

namespace XDeepServe.Models.Text;

/// <summary>What a tokenizer.json holds. The small parts are kept as JSON, vocabulary and merges are read into tables.</summary>
internal sealed class TokenizerFile
{
    private readonly byte[] json;
    private readonly Dictionary<string, JsonElement> parts = [];
    private readonly Dictionary<string, JsonElement> modelParts = [];
    private readonly Dictionary<string, int> otherNames = []; // tokens that are not written in the byte alphabet
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
        }
        catch (JsonException error)
        {
            throw new TokenizerException($"tokenizer.json is not valid JSON: {error.Message}", error);
        }
        catch (InvalidOperationException error)
        {
            throw new TokenizerException($"tokenizer.json is not laid out as a Hugging Face tokenizer: {error.Message}", error);
        }
    }

    /// <summary>The tokens as raw bytes.</summary>
    public ByteTable Vocabulary { get; } = new(1 << 13);

    /// <summary>The merges.</summary>
    public MergeTable Merges { get; } = new(1 << 13);

    /// <summary>Tokens that are not written in the byte alphabet, by name.</summary>
    public IReadOnlyDictionary<string, int> OtherNames => otherNames;

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
        var bytes = new byte[256];
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var length = CopyText(ref reader, ref text);
            var name = text.AsSpan(0, length);
            if (bytes.Length < length)
                bytes = new byte[length * 2];
            reader.Read();
            var id = reader.GetInt32();
            if (ByteAlphabet.TryToBytes(name, bytes, out var count))
            {
                Vocabulary.Add(id, bytes.AsSpan(0, count));
            }
            else
            {
                Vocabulary.Add(id, name, findable: false);
                otherNames[Encoding.UTF8.GetString(name)] = id;
            }
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
        var bytes = new byte[512];
        for (var rank = 0; reader.Read() && reader.TokenType != JsonTokenType.EndArray; rank++)
        {
            ReadOnlySpan<byte> first, second;
            if (reader.TokenType == JsonTokenType.StartArray)
            {
                reader.Read();
                first = left.AsSpan(0, CopyText(ref reader, ref left));
                reader.Read();
                second = right.AsSpan(0, CopyText(ref reader, ref right));
                reader.Read();
            }
            else
            {
                ReadOnlySpan<byte> line = left.AsSpan(0, CopyText(ref reader, ref left));
                var space = line.IndexOf((byte)' ');
                if (space < 0)
                    throw new TokenizerException($"Merge {rank} in tokenizer.json is not a pair: \"{Encoding.UTF8.GetString(line)}\".");
                first = line[..space];
                second = line[(space + 1)..];
            }
            if (bytes.Length < first.Length + second.Length)
                bytes = new byte[(first.Length + second.Length) * 2];
            if (!ByteAlphabet.TryToBytes(first, bytes, out var middle)
                || !ByteAlphabet.TryToBytes(second, bytes.AsSpan(middle), out var rest))
                throw new TokenizerException($"Merge {rank} in tokenizer.json is not written in the byte alphabet; only byte-level models are supported.");
            var leftId = Vocabulary.Find(bytes.AsSpan(0, middle));
            var rightId = Vocabulary.Find(bytes.AsSpan(middle, rest));
            var merged = Vocabulary.Find(bytes.AsSpan(0, middle + rest));
            if (leftId < 0 || rightId < 0 || merged < 0)
                throw new TokenizerException($"Merge {rank} in tokenizer.json (\"{Encoding.UTF8.GetString(first)}\" and \"{Encoding.UTF8.GetString(second)}\") names a token that is not in the vocabulary.");
            Merges.Add(leftId, rightId, rank, merged);
        }
    }

    private static int CopyText(ref Utf8JsonReader reader, ref byte[] buffer)
    {
        if (buffer.Length < reader.ValueSpan.Length)
            buffer = new byte[reader.ValueSpan.Length * 2];
        return reader.CopyString(buffer);
    }
}
