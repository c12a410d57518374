using System.CommandLine;
using System.Text.Json.Nodes;
using XDeepServe.Models.Text;

namespace XDeepServe.Cli;

/// <summary><c>xds render</c>: chat prompts as the model's template writes them, a line each.</summary>
internal sealed class RenderCommand : Command
{
    private readonly TextSource source = new();
    private readonly Option<string> file = new("--jsonl") { Description = "File with a line {\"messages\": …, \"add_generation_prompt\": …} for every prompt; its keys are the template's variables.", Required = true };

    public RenderCommand() : base("render", "Renders the chat template: a line {\"text\"} for every line of variables.")
    {
        source.AddTo(this);
        Options.Add(file);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        ChatTemplate template = source.Template(result);
        JsonLines.Answer(result.GetValue(file)!, line => new JsonObject { ["text"] = template.Render(line) });
        return 0;
    }
}
