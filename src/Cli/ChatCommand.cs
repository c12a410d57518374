using System.CommandLine;
using System.Text;
using System.Text.Json.Nodes;
using XDeepServe.FlowServe;
using XDeepServe.Models.Images;
using XDeepServe.Models.Loading;
using XDeepServe.Models.Text;
using XDeepServe.Server;

namespace XDeepServe.Cli;

/// <summary><c>xds chat</c>: a conversation in the terminal.</summary>
internal sealed class ChatCommand : Command
{
    private readonly Option<string?> system = new("--system") { Description = "Instructions to the model before the conversation." };
    private readonly EngineFlags engine;
    private readonly SamplingFlags sampling;

    public ChatCommand() : base("chat", "Chats with a model in the terminal; an empty line or Ctrl-D ends it.")
    {
        Options.Add(system);
        sampling = new SamplingFlags(this, defaultMax: 512, defaultTemperature: 0.7);
        engine = new EngineFlags(this, withoutSeed: true);
        SetAction(Run);
    }

    private async Task<int> Run(ParseResult result, CancellationToken cancel)
    {
        EngineSettings settings = engine.Read(result);
        SamplingParameters how = sampling.Read(result);
        using LoadedEngine loaded = LoadedEngine.Open(settings);
        if (loaded.Tokenizer?.ChatTemplate is not { } source)
            throw new ModelLoadException($"{settings.Name} has no chat template; continue text with 'xds generate' instead.");
        ChatTemplate template = ChatTemplate.Parse(source);
        ImageInput? images = FrontModel.ImagesFor(loaded.Checkpoint, loaded.Model.Config, loaded.Tokenizer, template);
        JsonArray messages = [];
        if (result.GetValue(system) is { } instructions)
            messages.Add(Message("system", instructions, images));
        using Interruption interruption = new();
        while (!interruption.Stop.IsCancellationRequested)
        {
            Console.Write("> ");
            if (Console.ReadLine() is not { Length: > 0 } line)
                break;
            messages.Add(Message("user", line, images));
            string answer = await Answer(loaded, template, messages, how, interruption.Stop);
            Console.WriteLine();
            messages.Add(Message("assistant", answer, images));
        }
        return 0;
    }

    private static async Task<string> Answer(LoadedEngine loaded, ChatTemplate template, JsonArray messages, SamplingParameters how, CancellationToken stop)
    {
        string prompt = template.Render(new JsonObject
        {
            ["messages"] = messages.DeepClone(),
            ["add_generation_prompt"] = true,
            ["bos_token"] = loaded.Tokenizer!.BosToken,
            ["eos_token"] = loaded.Tokenizer.EosToken,
        });
        int[] ids = loaded.Tokenizer.Encode(prompt);
        int room = loaded.Shell.Options.MaxModelLength - ids.Length;
        using Generation generation = loaded.Shell.Submit(new GenerationRequest
        {
            Id = "chat",
            Prompt = ids,
            Sampling = how with { MaxTokens = Math.Min(how.MaxTokens!.Value, Math.Max(1, room)) },
        });
        StringBuilder answer = new();
        try
        {
            await foreach (OutputDelta delta in generation.WithCancellation(stop))
            {
                Console.Write(delta.Text);
                answer.Append(delta.Text);
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            Console.Error.WriteLine();
        }
        return answer.ToString();
    }

    private static JsonObject Message(string role, string content, ImageInput? images) =>
        new() { ["role"] = role, ["content"] = images is null ? content : images.ForTemplate(content) };
}
