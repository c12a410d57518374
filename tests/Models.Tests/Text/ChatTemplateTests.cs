using System.Text.Json.Nodes;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Tests.Text;

/// <summary>The template language, held against renderings of the reference.</summary>
public sealed class ChatTemplateTests
{
    [Fact]
    public void Small_templates_render_as_in_the_reference()
    {
        var golden = JsonNode.Parse(File.ReadAllBytes(Path.Combine(TokenizerFiles.Root, "tests", "golden", "templates", "cases.json")))!;
        var variables = golden["variables"]!.AsObject();
        var failures = new List<string>();
        foreach (var entry in golden["cases"]!.AsArray())
        {
            var template = (string)entry!["template"]!;
            string? text;
            try
            {
                text = ChatTemplate.Parse(template).Render(variables);
            }
            catch (TemplateException error)
            {
                text = null;
                if (entry["error"] is null)
                    failures.Add($"{template}\n  refused: {error.Message}");
            }
            if (text != (string?)entry["text"] && text is not null)
                failures.Add($"{template}\n  expected: {entry["text"]?.ToJsonString() ?? (string?)entry["error"]}\n  actual:   {JsonValue.Create(text).ToJsonString()}");
        }
        Assert.True(failures.Count == 0, string.Join("\n\n", failures));
    }
}
