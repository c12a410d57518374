using System.Text;
using System.Text.Json.Nodes;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Tests.Text;

/// <summary>Makes tokenizers of a few tokens: all bytes, some merges, whatever else a test asks for.</summary>
internal sealed class SmallTokenizer
{
    private readonly JsonObject vocabulary = [];
    private readonly JsonArray merges = [];
    private readonly JsonArray added = [];

    public SmallTokenizer()
    {
        for (var value = 0; value < 256; value++)
            vocabulary[ByteAlphabet.ToCharacter((byte)value).ToString()] = value;
        Root = new()
        {
            ["added_tokens"] = added,
            ["normalizer"] = null,
            ["pre_tokenizer"] = new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["use_regex"] = true },
            ["post_processor"] = null,
            ["decoder"] = new JsonObject { ["type"] = "ByteLevel" },
            ["model"] = new JsonObject { ["type"] = "BPE", ["vocab"] = vocabulary, ["merges"] = merges },
        };
    }

    public JsonObject Root { get; }

    public SmallTokenizer Merge(string left, string right)
    {
        vocabulary[left + right] = vocabulary.Count;
        merges.Add($"{left} {right}");
        return this;
    }

    public SmallTokenizer Add(string content, int id, bool special = true, bool normalized = false, bool singleWord = false, bool left = false, bool right = false)
    {
        added.Add(new JsonObject
        {
            ["id"] = id,
            ["content"] = content,
            ["special"] = special,
            ["normalized"] = normalized,
            ["single_word"] = singleWord,
            ["lstrip"] = left,
            ["rstrip"] = right,
        });
        return this;
    }

    public Tokenizer Make() => Tokenizer.FromJson(Encoding.UTF8.GetBytes(Root.ToJsonString()));
}
