using System.Text;
using System.Text.Json.Nodes;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Tests.Text;

/// <summary>Tokenizers that cannot be used are refused with a reason, however broken they are.</summary>
public sealed class TokenizerErrorTests
{
    [Theory]
    [InlineData("", "not valid JSON")]
    [InlineData("[]", "no model")]
    [InlineData("{}", "no model")]
    [InlineData("{\"model\":null}", "no model")]
    [InlineData("{\"model\":{\"type\":\"Unigram\",\"vocab\":{\"a\":0}}}", "not a list")]
    [InlineData("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", "laid out")]
    [InlineData("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0.5,1]]}}", "laid out")]
    [InlineData("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0.5]],\"unk_id\":1}}", "unknown token")]
    [InlineData("{\"model\":{\"type\":\"BPE\",\"vocab\":[[\"a\",0.5]],\"merges\":[]}}", "not an object")]
    [InlineData("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}}}", "WordPiece")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":0}}}", "no merges")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":0},\"merges\":{}}}", "not a list")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":16000000},\"merges\":[]}}", "id 16000000")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", "id -1")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":1.5},\"merges\":[]}}", "laid out")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":99999999999},\"merges\":[]}}", "laid out")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"ab\"]}}", "not a pair")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", "not in the vocabulary")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"▁ a\"]}}", "not in the vocabulary")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}", "tokenizer")]
    [InlineData("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}", "not valid JSON")]
    public void Broken_files_are_refused(string json, string reason) =>
        Assert.Contains(reason, Assert.Throws<TokenizerException>(() => Tokenizer.FromJson(Encoding.UTF8.GetBytes(json))).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("normalizer", "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Rot13\"}]}", "Rot13")]
    [InlineData("normalizer", "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAD/fw==\"}", "damaged")]
    [InlineData("normalizer", "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"*\"}", "laid out")]
    [InlineData("normalizer", "{}", "laid out")]
    [InlineData("normalizer", "3", "laid out")]
    [InlineData("pre_tokenizer", "{\"type\":\"UnicodeScripts\"}", "UnicodeScripts")]
    [InlineData("pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"}}", "not supported")]
    [InlineData("pre_tokenizer", "{\"type\":\"Split\"}", "laid out")]
    [InlineData("pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{\"String\":\"\"}}", "pattern")]
    [InlineData("post_processor", "{\"type\":\"Strange\"}", "Strange")]
    [InlineData("post_processor", "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}}],\"special_tokens\":{}}", "laid out")]
    [InlineData("post_processor", "{\"type\":\"BertProcessing\",\"cls\":[]}", "laid out")]
    [InlineData("decoder", "{\"type\":\"WordPiece\"}", "WordPiece")]
    [InlineData("added_tokens", "[{\"id\":-5,\"content\":\"x\"}]", "id -5")]
    [InlineData("added_tokens", "{}", "laid out")]
    public void Settings_that_are_not_supported_are_named(string part, string value, string reason)
    {
        var small = new SmallTokenizer();
        small.Root[part] = JsonNode.Parse(value);
        Assert.Contains(reason, Assert.Throws<TokenizerException>(small.Make).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_without_a_tokenizer_says_so() =>
        Assert.Contains("tokenizer.json", Assert.Throws<TokenizerException>(() => Tokenizer.FromFolder(AppContext.BaseDirectory)).Message, StringComparison.Ordinal);

    [Fact]
    public void Damaged_gguf_parts_are_refused()
    {
        var good = new SmallTokenizer().Merge("a", "b").Make().ToGguf();
        Assert.Equal([256], Tokenizer.FromGguf(good).Encode("ab"));
        foreach (var bad in new[]
        {
            good with { Tokens = [] }, good with { Types = [1] }, good with { Merges = ["ab"] }, good with { Merges = ["a z\u0120\u0120"] },
            good with { Pre = "strange" }, good with { BosId = 9999 }, good with { EosId = -1 },
        })
            Assert.NotEmpty(Assert.Throws<TokenizerException>(() => Tokenizer.FromGguf(bad)).Message);
    }
}
