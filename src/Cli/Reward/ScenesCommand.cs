using System.CommandLine;
using XDeepServe.Alignment.Scenes;

namespace XDeepServe.Cli.Reward;

/// <summary><c>xds scenes</c>: preference data about drawn scenes of which everything is known.</summary>
internal sealed class ScenesCommand : Command
{
    private static readonly SceneWorldSettings Defaults = new() { Pairs = 2000 };

    private readonly Option<string> folder = new("--out") { Description = "Folder for the files.", Required = true };
    private readonly Option<int> pairs = new("--pairs") { Description = "Pairs for training in each of the three data sets.", DefaultValueFactory = _ => Defaults.Pairs };
    private readonly Option<int> held = new("--held") { Description = "Pairs held out in each, and scenes to rank captions of.", DefaultValueFactory = _ => Defaults.Held };
    private readonly Option<int> size = new("--size") { Description = "Height and width of images in pixels; a multiple of 3.", DefaultValueFactory = _ => Defaults.Size };
    private readonly Option<int> samples = new("--samples") { Description = "Captions for each scene that is ranked.", DefaultValueFactory = _ => Defaults.Samples };
    private readonly Option<double> hallucination = new("--hallucination") { Description = "Chance that a statement of the captioner is wrong.", DefaultValueFactory = _ => Defaults.Hallucination };
    private readonly Option<double> unrelated = new("--unrelated") { Description = "Share of textual pairs about something else.", DefaultValueFactory = _ => Defaults.Unrelated };
    private readonly Option<double> noise = new("--noise") { Description = "Share of textual pairs about descriptions that are turned around.", DefaultValueFactory = _ => Defaults.Noise };
    private readonly Option<double> captionNoise = new("--caption-noise") { Description = "Share of caption pairs that are turned around.", DefaultValueFactory = _ => Defaults.CaptionNoise };
    private readonly Option<int> seed = new("--seed") { Description = "Decides everything that is left to chance." };

    public ScenesCommand() : base("scenes", "Draws scenes and writes textual, caption-based and visual preference pairs about them, with captions to rank.")
    {
        foreach (Option option in new Option[] { folder, pairs, held, size, samples, hallucination, unrelated, noise, captionNoise, seed })
            Options.Add(option);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        SceneWorldSettings settings = new()
        {
            Pairs = result.GetValue(pairs),
            Held = result.GetValue(held),
            Size = result.GetValue(size) is >= 12 and { } pixels && pixels % 3 == 0 ? pixels : throw new ArgumentException("--size must be a multiple of 3, and at least 12."),
            Samples = result.GetValue(samples),
            Hallucination = Share(hallucination),
            Unrelated = Share(unrelated),
            Noise = Share(noise),
            CaptionNoise = Share(captionNoise),
            Seed = result.GetValue(seed),
        };
        SceneWorld.Write(result.GetValue(folder)!, settings);
        Console.WriteLine($"{3 * (settings.Pairs + settings.Held)} pairs and {settings.Held} scenes with {settings.Samples} captions each in {result.GetValue(folder)}");
        return 0;

        double Share(Option<double> option) => result.GetValue(option) is >= 0 and <= 1 and { } share ? share : throw new ArgumentException($"{option.Name} must be from 0 to 1.");
    }
}
