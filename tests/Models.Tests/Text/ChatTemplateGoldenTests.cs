using System.Text.Json.Nodes;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Tests.Text;

/// <summary>The templates of published models render exactly as the reference renders them.</summary>
public sealed class ChatTemplateGoldenTests
{
    [Theory]
    [InlineData("deepseek_v3")]
    [InlineData("llama3_1")]
    [InlineData("qwen3")]
    public void Renderings_equal_the_reference(string name)
    {
        var template = ChatTemplate.Parse(TokenizerFiles.Load(name).ChatTemplate!);
        var cases = TokenizerFiles.Golden(name)["chat"]!.AsArray();
        Assert.NotEmpty(cases);
        foreach (var entry in cases)
            Assert.Equal((string?)entry!["text"], template.Render(entry["args"]!.AsObject()));
    }

    [Fact]
    public void Nano_moe_gets_the_prompts_it_was_measured_with()
    {
        var path = Path.Combine(TokenizerFiles.Root, "..", "shared", "models", "nano-moe", "golden.json");
        if (!File.Exists(path))
            Assert.Skip("../shared/models/nano-moe is not here.");
        var tokenizer = TokenizerFiles.LoadNanoMoe();
        var template = ChatTemplate.Parse(tokenizer.ChatTemplate!);
        foreach (var prompt in JsonNode.Parse(File.ReadAllBytes(path))!["prompts"]!.AsArray())
        {
            var text = template.Render(new JsonObject { ["messages"] = prompt!["messages"]!.DeepClone(), ["add_generation_prompt"] = true });
            Assert.Equal((string?)prompt["text"], text);
            Assert.Equal(prompt["ids"]!.AsArray().Select(id => (int)id!), tokenizer.Encode(text));
        }
    }
}
