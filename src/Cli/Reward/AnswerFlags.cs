using System.CommandLine;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Cli.Reward;

/// <summary>A question and its answers: on the command line, or many of them in a file.</summary>
internal sealed class AnswerFlags
{
    private readonly Option<string?> prompt = new("--prompt") { Description = "The question." };
    private readonly Option<string[]> responses = new("--response") { Description = "An answer; give the flag once for each.", AllowMultipleArgumentsPerToken = true };
    private readonly Option<string[]> images = new("--image") { Description = "An image that the question shows (PNG or JPEG); give the flag once for each.", AllowMultipleArgumentsPerToken = true };
    private readonly Option<string?> input = new("--input") { Description = "JSON lines instead: each holds 'prompt' (text or messages) and 'responses' (a list of texts), and may hold 'image' (a file beside it)." };

    /// <summary>Adds the flags to a command.</summary>
    public AnswerFlags(Command command, int least)
    {
        foreach (Option option in new Option[] { prompt, responses, images, input })
            command.Options.Add(option);
        command.Validators.Add(result =>
        {
            if (result.GetValue(input) is null == result.GetValue(prompt) is null)
                result.AddError("Give either --prompt with --response, or --input.");
            else if (result.GetValue(input) is not null && result.GetValue(images) is { Length: > 0 })
                result.AddError("--image goes with --prompt; in a file, each line may hold 'image'.");
            else if (result.GetValue(input) is null && (result.GetValue(responses)?.Length ?? 0) < least)
                result.AddError($"Give at least {least} --response.");
        });
    }

    /// <summary>The questions with their answers.</summary>
    /// <exception cref="DataException">The file is not as it should be.</exception>
    public List<(IReadOnlyList<Message> Prompt, IReadOnlyList<string> Responses)> Read(ParseResult result)
    {
        if (result.GetValue(input) is not { } path)
            return [([new Message("user", result.GetValue(prompt)!) { Images = result.GetValue(images) ?? [] }], result.GetValue(responses)!)];
        List<(IReadOnlyList<Message>, IReadOnlyList<string>)> read = [];
        foreach (Row row in DataFile.Read(path))
        {
            IReadOnlyList<string> answers = row.Texts("responses");
            read.Add((row.WithImages(row.Messages("prompt"), path), answers.Count > 0 ? answers : throw row.Wrong("responses", "is empty")));
        }
        return read.Count > 0 ? read : throw new DataException($"{path} holds no question.");
    }
}
