using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using XDeepServe.FlowServe;
using XDeepServe.Models;
using XDeepServe.Models.Images;

namespace XDeepServe.Cli;

/// <summary><c>xds generate</c>: continues one prompt and ends.</summary>
internal sealed class GenerateCommand : Command
{
    private readonly Option<string?> prompt = new("--prompt") { Description = "Text to continue." };
    private readonly Option<string?> promptIds = new("--prompt-ids") { Description = "Token ids to continue, with commas between them." };
    private readonly Option<string?> pixelValues = new("--pixel-values") { Description = "File with the prompt's images as the model takes them: float32, little-endian, [images, 3, height, width]." };
    private readonly Option<int?> logprobs = new("--logprobs") { Description = "Log-probabilities of this many best tokens beside each generated one's." };
    private readonly Option<int?> promptLogprobs = new("--prompt-logprobs") { Description = "The same for the prompt's tokens." };
    private readonly Option<bool> json = new("--json") { Description = "Print one JSON object." };
    private readonly EngineFlags engine;
    private readonly SamplingFlags sampling;

    public GenerateCommand() : base("generate", "Continues a prompt.")
    {
        foreach (Option option in new Option[] { prompt, promptIds, pixelValues, logprobs, promptLogprobs, json })
            Options.Add(option);
        sampling = new SamplingFlags(this, defaultMax: 128, defaultTemperature: 0);
        engine = new EngineFlags(this, withoutSeed: true);
        Validators.Add(result =>
        {
            if (result.GetValue(prompt) is null == result.GetValue(promptIds) is null)
                result.AddError("Give either --prompt or --prompt-ids.");
        });
        SetAction(Run);
    }

    private async Task<int> Run(ParseResult result, CancellationToken cancel)
    {
        EngineSettings settings = engine.Read(result);
        SamplingParameters how = sampling.Read(result) with
        {
            Logprobs = result.GetValue(logprobs),
            PromptLogprobs = result.GetValue(promptLogprobs),
            Detokenize = !settings.SkipTokenizer,
        };
        how.Validate(int.MaxValue, settings.Engine.MaxLogprobs);
        if (settings.SkipTokenizer && result.GetValue(prompt) is not null)
            throw new ArgumentException("--skip-tokenizer-init works on ids only: give --prompt-ids instead of --prompt.");
        int[]? ids = result.GetValue(promptIds) is { } list ? ParseIds(list) : null;
        using Interruption interruption = new();
        using LoadedEngine loaded = LoadedEngine.Open(settings);
        ids ??= loaded.Tokenizer!.Encode(result.GetValue(prompt)!, addSpecialTokens: true);
        PromptImage[] images = [];
        if (result.GetValue(pixelValues) is { } file)
            (ids, images) = PlaceImages(ids, file, loaded.Model.Config.Images);
        using Generation generation = loaded.Shell.Submit(new GenerationRequest { Id = "generate", Prompt = ids, Images = images, Sampling = how });
        List<OutputDelta> deltas = [];
        bool asJson = result.GetValue(json);
        await foreach (OutputDelta delta in generation.WithCancellation(interruption.Stop))
        {
            deltas.Add(delta);
            if (!asJson)
                Console.Out.Write(settings.SkipTokenizer ? string.Concat(delta.TokenIds.Select(id => $"{id} ")) : delta.Text);
        }
        // Whether the signal came before the first token or later, half an answer is not printed as a whole one.
        interruption.Stop.ThrowIfCancellationRequested();
        if (asJson)
            WriteJson(ids, deltas);
        else
            Console.Out.WriteLine();
        if (deltas.Count > 0 && deltas[^1].FinishReason == "error")
            throw new ArgumentException($"The engine failed: {generation.Failure?.Message}");
        return 0;
    }

    private static int[] ParseIds(string list)
    {
        string[] parts = list.Split(',', StringSplitOptions.TrimEntries);
        int[] ids = new int[parts.Length];
        for (int i = 0; i < parts.Length; i++)
            if (!int.TryParse(parts[i], NumberStyles.None, CultureInfo.InvariantCulture, out ids[i]))
                throw new ArgumentException($"--prompt-ids must be token ids with commas between them; '{parts[i]}' is none.");
        return ids;
    }

    private static (int[] Ids, PromptImage[] Images) PlaceImages(int[] ids, string file, ImageConfig? shape)
    {
        if (shape is null)
            throw new ArgumentException("--pixel-values is for models that take images; this one takes text only.");
        byte[] bytes = File.ReadAllBytes(file);
        int each = shape.Pixels * sizeof(float);
        if (bytes.Length == 0 || bytes.Length % each != 0)
            throw new ArgumentException($"--pixel-values: {file} has {bytes.Length} bytes, but an image is float32 [3, {shape.Size}, {shape.Size}], {each} bytes.");
        try
        {
            return PromptImage.Place(ids, [.. bytes.Chunk(each).Select(image => MemoryMarshal.Cast<byte, float>(image).ToArray())], shape);
        }
        catch (ImageException mismatch)
        {
            throw new ArgumentException($"--pixel-values: {mismatch.Message}");
        }
    }

    private static void WriteJson(int[] prompt, List<OutputDelta> deltas)
    {
        using Stream output = Console.OpenStandardOutput();
        using (Utf8JsonWriter writer = new(output))
        {
            writer.WriteStartObject();
            WriteIds(writer, "prompt_ids", prompt);
            WriteIds(writer, "token_ids", deltas.SelectMany(delta => delta.TokenIds));
            writer.WriteString("text", string.Concat(deltas.Select(delta => delta.Text)));
            writer.WriteString("finish_reason", deltas.Count > 0 ? deltas[^1].FinishReason : "abort");
            if (deltas.Any(delta => delta.Logprobs is not null))
                WriteLogprobs(writer, "logprobs", deltas.SelectMany(delta => delta.Logprobs ?? []));
            if (deltas.FirstOrDefault(delta => delta.PromptLogprobs is not null) is { } scored)
                WriteLogprobs(writer, "prompt_logprobs", scored.PromptLogprobs!);
            writer.WriteEndObject();
        }
        output.WriteByte((byte)'\n');
    }

    private static void WriteIds(Utf8JsonWriter writer, string name, IEnumerable<int> ids)
    {
        writer.WriteStartArray(name);
        foreach (int id in ids)
            writer.WriteNumberValue(id);
        writer.WriteEndArray();
    }

    private static void WriteLogprobs(Utf8JsonWriter writer, string name, IEnumerable<TokenLogprob?> entries)
    {
        writer.WriteStartArray(name);
        foreach (TokenLogprob? entry in entries)
        {
            if (entry is null)
            {
                writer.WriteNullValue();
                continue;
            }
            writer.WriteStartObject();
            writer.WriteNumber("id", entry.Id);
            writer.WriteNumber("logprob", entry.Logprob);
            writer.WriteStartArray("top");
            foreach ((int id, float logprob) in entry.Top)
            {
                writer.WriteStartObject();
                writer.WriteNumber("id", id);
                writer.WriteNumber("logprob", logprob);
                writer.WriteEndObject();
            }
            writer.WriteEndArray();
            writer.WriteEndObject();
        }
        writer.WriteEndArray();
    }
}
