using System.CommandLine;
using XDeepServe.Kernels;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models;
using XDeepServe.Models.Loading;

namespace XDeepServe.Cli;

/// <summary><c>xds info</c>: what a model is and what serving it takes.</summary>
internal sealed class InfoCommand : Command
{
    private readonly Argument<string?> model = new("model") { Description = "Folder or GGUF file (default: the embedded nano-moe).", Arity = ArgumentArity.ZeroOrOne };
    private readonly Option<string?> option = new("--model") { Description = "The same, as other commands take it." };
    private readonly Option<string> format = EngineFlags.FormatChoice();

    public InfoCommand() : base("info", "Describes a model and this machine.")
    {
        Arguments.Add(model);
        Options.Add(option);
        Options.Add(format);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        string path = result.GetValue(model) ?? result.GetValue(option) ?? EmbeddedModel.Find();
        using Checkpoint checkpoint = Checkpoint.Open(path, EngineFlags.ReadFormat(result, format));
        ModelConfig config = ModelConfig.Read(checkpoint.Config, checkpoint.GenerationConfig);
        List<StoredTensor> tensors = [.. checkpoint.Names.Select(name => checkpoint.TryGet(name, out StoredTensor? tensor) ? tensor : throw new InvalidOperationException(name))];
        using CpuBackend backend = new(new CpuOptions());
        void Line(string what, object? value) => Console.WriteLine($"{what,-22}{value}");
        Line("model", path);
        Line("format", checkpoint.Format);
        Line("family", config.Family);
        bool files = checkpoint.Format != "dummy"; // whose tensors come into being when they are asked for
        if (files)
            Line("parameters", $"{tensors.Sum(tensor => tensor.Elements) / 1e6:F1} M in {tensors.Count} tensors");
        foreach (IGrouping<ElementType, StoredTensor> group in tensors.GroupBy(tensor => tensor.Type))
            Line($"  {group.Key}", $"{group.Sum(tensor => tensor.Bytes) / 1048576.0:F1} MiB in {group.Count()} tensors");
        Line("layers", config.Layers);
        Line("hidden size", config.HiddenSize);
        Line("heads", config.Latent is { } latent ? $"{config.Heads}, latent of {latent.Rank} + {latent.Rope}" : $"{config.Heads} of {config.HeadWidth}, {config.KeyValueHeads} for keys and values");
        if (config.Experts is { } experts)
            Line("experts", $"{experts.Count} of {experts.Width}, {experts.Rule.TopK} per token, {experts.Shared} shared, {experts.DenseLayers.Count} layers dense");
        if (config.Windows.Any(window => window > 0))
            Line("sliding window", $"{config.Windows.Max()} positions in {config.Windows.Count(window => window > 0)} layers");
        if (config.DraftLayers > 0)
            Line("draft modules", $"{config.DraftLayers} announced{(files ? $", {Enumerable.Range(config.Layers, config.DraftLayers).Count(layer => checkpoint.Has($"model.layers.{layer}.eh_proj.weight"))} in the file" : "")}");
        if (config.Images is { } images)
            Line("images", $"{images.Size} x {images.Size} pixels, {images.Rows} tokens each; text model {images.TextFamily}");
        Line("vocabulary", config.VocabularySize);
        Line("longest context", config.MaxPositions);
        Line("end of text", string.Join(", ", config.EosIds));
        Line("machine", backend.Description);
        return 0;
    }
}
