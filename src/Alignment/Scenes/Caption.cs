using System.Text.RegularExpressions;

namespace XDeepServe.Alignment.Scenes;

/// <summary>How a caption does against the scene it describes.</summary>
/// <param name="Coverage">Share of the scene's objects that the caption states rightly (AMBER's cover).</param>
/// <param name="Hallucination">Share of the caption's statements that are wrong (CHAIR); 0 if it states nothing.</param>
public readonly record struct CaptionScore(double Coverage, double Hallucination);

/// <summary>What a caption states: objects, and how many there are.</summary>
/// <param name="Objects">In the order in which they are told.</param>
/// <param name="Count">The number told; null if none is.</param>
public sealed partial record Caption(IReadOnlyList<SceneObject> Objects, int? Count)
{
    private static readonly string[] Openings = ["there is a", "I see a", "is a"];

    internal static readonly string[] Numbers = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

    /// <summary>A caption that states exactly what is there, in the scene's order.</summary>
    public static Caption Of(Scene scene) => new(scene.Objects, scene.Objects.Count);

    /// <summary>Reads a text. Sentences of another form state nothing.</summary>
    public static Caption Read(string text)
    {
        List<SceneObject> objects = [];
        foreach (Match match in Statement().Matches(text))
            if (Enum.TryParse(match.Groups[2].Value, ignoreCase: true, out Extent extent) && Enum.TryParse(match.Groups[3].Value, ignoreCase: true, out Colour colour)
                && Enum.TryParse(match.Groups[4].Value, ignoreCase: true, out Shape shape) && CellOf(match.Groups[1].Value) is >= 0 and { } cell)
                objects.Add(new SceneObject(extent, colour, shape, cell));
        int? count = Total().Match(text) is { Success: true } total && Array.IndexOf(Numbers, total.Groups[1].Value) is >= 0 and { } number ? number : null;
        return new Caption(objects, count);
    }

    /// <summary>Compares what it states with what is there.</summary>
    public CaptionScore Score(Scene scene)
    {
        int covered = scene.Objects.Count(Objects.Contains), statements = Objects.Count + (Count is null ? 0 : 1);
        int wrong = Objects.Count(one => !scene.Objects.Contains(one)) + (Count is { } count && count != scene.Objects.Count ? 1 : 0);
        return new CaptionScore(covered / (double)scene.Objects.Count, statements == 0 ? 0 : wrong / (double)statements);
    }

    /// <summary>The text. A sentence names the place first, so that what follows can be looked up there, word by word.</summary>
    /// <param name="style">Which of the ways to go on from the place.</param>
    public string Write(int style) => string.Join(" ", Objects.Select((one, place) => $"At the {SceneObject.Cells[one.Cell]} {Openings[(style + place) % Openings.Length]} {one}.")
        .Concat(Count is { } count ? [$"There {(count == 1 ? "is" : "are")} {Numbers[count]} in all."] : Array.Empty<string>()));

    private static int CellOf(string name)
    {
        for (int cell = 0; cell < SceneObject.Cells.Count; cell++)
            if (SceneObject.Cells[cell] == name)
                return cell;
        return -1;
    }

    [GeneratedRegex(@"\bAt the ([a-z ]+?) (?:there is|I see|is) a (small|large) (\w+) (\w+)\.")]
    private static partial Regex Statement();

    [GeneratedRegex(@"\bThere (?:is|are) (\w+) in all\.")]
    private static partial Regex Total();
}
