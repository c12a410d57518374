using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Nodes;
using XDeepServe.Models.Text;

namespace XDeepServe.Cli;

/// <summary><c>xds tokenize</c>: texts to token ids and back, a line each.</summary>
internal sealed class TokenizeCommand : Command
{
    private readonly TextSource source = new();
    private readonly Option<string> file = new("--jsonl") { Description = "File with a line {\"text\": …} for every text.", Required = true };
    private readonly Option<bool> special = new("--add-special-tokens") { Description = "Add the tokens that the model wants around a text." };

    public TokenizeCommand() : base("tokenize", "Turns texts into token ids and back: a line {\"ids\", \"decoded\"} for every line {\"text\"}.")
    {
        source.AddTo(this);
        Options.Add(file);
        Options.Add(special);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        Tokenizer tokenizer = source.Tokenizer(result);
        bool addSpecialTokens = result.GetValue(special);
        JsonLines.Answer(result.GetValue(file)!, line =>
        {
            if (line["text"] is not JsonValue value || value.GetValueKind() != JsonValueKind.String)
                throw new FormatException("'text' is missing or not a string.");
            int[] ids = tokenizer.Encode(value.GetValue<string>(), addSpecialTokens);
            return new JsonObject { ["ids"] = new JsonArray([.. ids.Select(id => (JsonNode)id)]), ["decoded"] = tokenizer.Decode(ids) };
        });
        return 0;
    }
}
