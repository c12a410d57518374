using System.Text.Json.Nodes;
using XDeepServe.Models.Text;
using XDeepServe.Models.Text.Normalizing;

namespace XDeepServe.Models.Tests.Text;

/// <summary>Encodings and decodings of published tokenizers equal those of the reference.</summary>
public sealed class TokenizerGoldenTests
{
    public static TheoryData<string> Names => new("deepseek_v3", "gpt2", "llama2", "llama3_1", "qwen3");

    [Theory, MemberData(nameof(Names))]
    public void Encodings_and_decodings_equal_the_reference(string name)
    {
        var tokenizer = TokenizerFiles.Load(name);
        CheckAll(tokenizer, name);
    }

    [Theory, MemberData(nameof(Names))]
    public void A_tokenizer_that_went_through_gguf_is_the_same(string name)
    {
        var original = TokenizerFiles.Load(name);
        var tokenizer = Tokenizer.FromGguf(original.ToGguf());
        CheckAll(tokenizer, name);
        Assert.Equal(original.BosId, tokenizer.BosId);
        Assert.Equal(original.EosId, tokenizer.EosId);
        Assert.Equal(original.ChatTemplate, tokenizer.ChatTemplate);
        Assert.Equal(original.VocabularySize, tokenizer.VocabularySize);
        for (var id = 0; id < original.VocabularySize; id++)
        {
            Assert.Equal(original.Piece(id), tokenizer.Piece(id));
            Assert.Equal(original.IsSpecial(id), tokenizer.IsSpecial(id));
        }
    }

    [Fact]
    public void Nano_moe_goes_through_gguf()
    {
        var original = TokenizerFiles.LoadNanoMoe();
        var parts = original.ToGguf();
        Assert.Equal(("qwen2", false, original.VocabularySize), (parts.Pre, parts.AddBos, parts.Tokens.Count));
        var tokenizer = Tokenizer.FromGguf(parts);
        foreach (var entry in TokenizerFiles.Golden("qwen3")["encodings"]!.AsArray())
        {
            var text = UnicodeForm.C.Normalize((string)entry!["text"]!); // GGUF does not say whether text is normalized
            Assert.Equal(original.Encode(text), tokenizer.Encode(text));
        }
        Assert.Equal([original.EosId!.Value], tokenizer.Encode(original.EosToken));
    }

    [Theory, MemberData(nameof(Names))]
    public void Streamed_tokens_give_the_text_of_all_of_them(string name)
    {
        var tokenizer = TokenizerFiles.Load(name);
        foreach (var entry in TokenizerFiles.Golden(name)["encodings"]!.AsArray())
        {
            var ids = Ids(entry!["ids"]!);
            var decoder = tokenizer.CreateDecoder();
            var text = string.Concat(ids.Select(decoder.Append)) + decoder.Flush();
            Assert.Equal(tokenizer.Decode(ids), text);
        }
    }

    [Theory, MemberData(nameof(Names))]
    public void All_shared_vectors_are_met(string name)
    {
        var golden = JsonNode.Parse(File.ReadAllBytes(Path.Combine(Places.Shared("golden", "tokenizers"), name + ".json")))!.AsObject();
        var tokenizer = TokenizerFiles.Load(name);
        Check(tokenizer, golden);
        var chat = golden["chat"]!.AsArray();
        if (chat.Count == 0)
            return;
        var template = ChatTemplate.FromFolder(TokenizerFiles.Folder(name));
        foreach (var entry in chat)
            Assert.Equal((string?)entry!["text"], template.Render(entry["args"]!.AsObject()));
    }

    private static void CheckAll(Tokenizer tokenizer, string name) => Check(tokenizer, TokenizerFiles.Golden(name));

    private static void Check(Tokenizer tokenizer, JsonObject golden)
    {
        Assert.NotEmpty(golden["encodings"]!.AsArray());
        foreach (var entry in golden["encodings"]!.AsArray())
        {
            var text = (string)entry!["text"]!;
            var ids = Ids(entry["ids"]!);
            Assert.Equal(ids, tokenizer.Encode(text));
            Assert.Equal(Ids(entry["ids_special"] ?? entry["ids"]!), tokenizer.Encode(text, addSpecialTokens: true));
            Assert.Equal((string?)entry["decoded"] ?? text, tokenizer.Decode(ids));
        }
    }

    private static int[] Ids(JsonNode node) => [.. node.AsArray().Select(id => (int)id!)];
}
