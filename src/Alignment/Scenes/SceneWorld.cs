using System.Globalization;
using System.Text.Json;
using XDeepServe.Models.Images;

namespace XDeepServe.Alignment.Scenes;

/// <summary>How large a world of scenes is.</summary>
public sealed record SceneWorldSettings
{
    /// <summary>Pairs for training in each of the three data sets.</summary>
    public required int Pairs { get; init; }

    /// <summary>Pairs held out in each, and scenes to rank captions of.</summary>
    public int Held { get; init; } = 200;

    /// <summary>Height and width of images; a multiple of 3.</summary>
    public int Size { get; init; } = 48;

    /// <summary>Captions drawn for each scene that is ranked.</summary>
    public int Samples { get; init; } = 8;

    /// <summary>Chance that the captioner says what is not there.</summary>
    public double Hallucination { get; init; } = 0.3;

    /// <summary>Share of textual pairs that are about something else than descriptions.</summary>
    public double Unrelated { get; init; } = 0.5;

    /// <summary>Share of textual pairs about descriptions whose preference is turned around.</summary>
    public double Noise { get; init; } = 0.2;

    /// <summary>Share of caption pairs whose preference is turned around.</summary>
    public double CaptionNoise { get; init; }

    /// <summary>Decides everything that is left to chance.</summary>
    public int Seed { get; init; }
}

/// <summary>
/// Writes RoVRM's three data sets about scenes of which everything is known: pairs about a scene told as a list (textual), about its
/// caption (caption-based) and about its image (visual); scenes, captions and lists with faithful descriptions in another order; and scenes with drawn captions to rank. JSON lines in the contract of
/// preference pairs: <c>prompt</c>, <c>chosen</c>, <c>rejected</c>, <c>subset</c>, and <c>image</c> where there is one, relative to the file.
/// </summary>
public static class SceneWorld
{
    /// <summary>What stands for the image in a prompt's text.</summary>
    public const string ImageToken = Prompts.Message.ImageMark;

    private const string Instruction = "Describe the image.";

    /// <summary>Writes the world's files into a folder.</summary>
    public static void Write(string folder, SceneWorldSettings settings)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(settings.Pairs, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(settings.Held, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(settings.Samples, 2);
        ArgumentOutOfRangeException.ThrowIfNotEqual(settings.Size % 3, 0, nameof(settings)); // cells of whole pixels
        Directory.CreateDirectory(Path.Combine(folder, "images"));
        Captioner captioner = new(settings.Hallucination, settings.Hallucination / 2), faithful = new(0, 0);
        int image = 0;
        // Each file has a stream of its own, so that one does not change with another's length.
        for (int part = 0; part < 2; part++)
        {
            string end = part == 0 ? "train" : "test";
            int count = part == 0 ? settings.Pairs : settings.Held;
            Random Stream(int file) => new(HashCode(settings.Seed, file, part));
            Rows($"textual.{end}.jsonl", count, Stream(0), random => Textual(captioner, settings, random, noise: part == 0));
            Rows($"caption.{end}.jsonl", count, Stream(1), random => Captioned(captioner, part == 0 ? settings.CaptionNoise : 0, random));
            Rows($"visual.{end}.jsonl", count, Stream(2), random => Visual(captioner, random));
            Rows($"describe.{end}.jsonl", count, Stream(4), random =>
            {
                Scene scene = Scene.Draw(random);
                return new { prompt = $"{ImageToken}\n{Instruction}", image = Save(scene), completion = faithful.Describe(scene, random) };
            });
            Rows($"rewrite.{end}.jsonl", count, Stream(5), random =>
            {
                Scene scene = Scene.Draw(random);
                return new { prompt = random.Next(2) == 0 ? Told(scene, random) : Listed(scene), completion = faithful.Describe(scene, random) };
            });
        }
        Rows("samples.jsonl", settings.Held, new Random(HashCode(settings.Seed, 3, 0)), random =>
        {
            Scene scene = Scene.Draw(random);
            string[] responses = [.. Enumerable.Range(0, settings.Samples).Select(_ => captioner.Describe(scene, random))];
            CaptionScore[] scores = [.. responses.Select(text => Caption.Read(text).Score(scene))];
            return new
            {
                prompt = $"{ImageToken}\n{Instruction}",
                image = Save(scene),
                responses,
                coverage = scores.Select(score => score.Coverage),
                hallucination = scores.Select(score => score.Hallucination),
                caption = Caption.Of(scene).Write(0),
            };
        });
        SceneTokenizer.Write(folder);
        SceneRecipe.Write(folder, settings.Size);

        void Rows(string name, int count, Random random, Func<Random, object> row) =>
            File.WriteAllLines(Path.Combine(folder, name), Enumerable.Range(0, count).Select(_ => JsonSerializer.Serialize(row(random), SceneTokenizer.Plain)));

        object Visual(Captioner from, Random random)
        {
            Scene scene = Scene.Draw(random);
            (string chosen, string rejected) = from.Pair(scene, random);
            return new { prompt = $"{ImageToken}\n{Instruction}", image = Save(scene), chosen, rejected, subset = "visual" };
        }

        string Save(Scene scene)
        {
            string name = string.Create(CultureInfo.InvariantCulture, $"images/{image++:D6}.png");
            File.WriteAllBytes(Path.Combine(folder, name), PngWriter.Encode(scene.Render(settings.Size)));
            return name;
        }
    }

    private static object Captioned(Captioner captioner, double noise, Random random)
    {
        Scene scene = Scene.Draw(random);
        (string chosen, string rejected) = captioner.Pair(scene, random);
        string prompt = Told(scene, random);
        bool turned = noise > 0 && random.NextDouble() < noise; // without noise nothing is drawn, so that worlds stay as they were
        return new { prompt, chosen = turned ? rejected : chosen, rejected = turned ? chosen : rejected, subset = turned ? "turned" : "caption" };
    }

    private static object Textual(Captioner captioner, SceneWorldSettings settings, Random random, bool noise)
    {
        if (random.NextDouble() < settings.Unrelated)
            return Smalltalk(random);
        Scene scene = Scene.Draw(random);
        (string chosen, string rejected) = captioner.Pair(scene, random);
        bool turned = noise && random.NextDouble() < settings.Noise;
        return new { prompt = Listed(scene), chosen = turned ? rejected : chosen, rejected = turned ? chosen : rejected, subset = turned ? "turned" : "list" };
    }

    private static string Told(Scene scene, Random random) => $"{Caption.Of(scene).Write(random.Next(3))}\n{Instruction}";

    private static string Listed(Scene scene) => $"List: {string.Join(", ", scene.Objects.Select(one => $"{SceneObject.Cells[one.Cell]}: {one}"))}\nDescribe the list.";

    // Preferences that teach nothing about descriptions.
    private static object Smalltalk(Random random)
    {
        int a = random.Next(5), b = random.Next(5);
        string name = SceneTokenizer.Names[random.Next(SceneTokenizer.Names.Count)];
        return random.Next(2) == 0
            ? new { prompt = $"Greet {name}.", chosen = $"Hello {name}, nice to see you.", rejected = $"Go away {name}.", subset = "unrelated" }
            : new { prompt = $"Add {Caption.Numbers[a]} and {Caption.Numbers[b]}.", chosen = $"It is {Caption.Numbers[a + b]}.", rejected = $"It is {Caption.Numbers[(a + b + 1 + random.Next(8)) % 9]}.", subset = "unrelated" };
    }

    // HashCode.Combine differs from process to process.
    private static int HashCode(int seed, int file, int part) => unchecked((((seed * 31) + file) * 31) + part + 17);
}
