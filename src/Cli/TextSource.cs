using System.CommandLine;
using XDeepServe.Models.Loading;
using XDeepServe.Models.Text;

namespace XDeepServe.Cli;

/// <summary>Where commands that work on text alone find a tokenizer and a chat template.</summary>
internal sealed class TextSource
{
    private readonly Option<string?> model = new("--model") { Description = "Folder with tokenizer files (weights are not needed) or GGUF file (default: the embedded nano-moe)." };

    /// <summary>Adds the option to a command.</summary>
    public void AddTo(Command command) => command.Options.Add(model);

    /// <summary>The tokenizer.</summary>
    public Tokenizer Tokenizer(ParseResult result) => Load(Place(result));

    /// <summary>The chat template, with the names of the special tokens as its variables.</summary>
    public ChatTemplate Template(ParseResult result)
    {
        string place = Place(result);
        if (Directory.Exists(place) && ChatTemplate.IsIn(place))
            return ChatTemplate.FromFolder(place);
        return Load(place).CreateTemplate() ?? throw new ModelLoadException($"{place} holds no chat template: neither chat_template.jinja nor one in tokenizer_config.json.");
    }

    private string Place(ParseResult result) => result.GetValue(model) ?? EmbeddedModel.Find();

    private static Tokenizer Load(string place)
    {
        if (Directory.Exists(place) && Models.Text.Tokenizer.IsIn(place))
            return Models.Text.Tokenizer.FromFolder(place);
        using Checkpoint checkpoint = Checkpoint.Open(place);
        return checkpoint.LoadTokenizer() ?? throw new ModelLoadException($"{place} holds no tokenizer. Put the model's tokenizer.json there.");
    }
}
