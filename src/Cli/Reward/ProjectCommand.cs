using System.CommandLine;
using System.Globalization;
using System.Net;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Selection;

namespace XDeepServe.Cli.Reward;

/// <summary><c>xds project</c>: features of several sets in one plane, and whose neighbours they are.</summary>
internal sealed class ProjectCommand : Command
{
    private static readonly string[] Colours = ["#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f"];

    private readonly Argument<string[]> files = new("features") { Description = "Feature files; each is a set.", Arity = ArgumentArity.OneOrMore };
    private readonly Option<string?> plot = new("--plot") { Description = "Draw the sets (SVG)." };
    private readonly Option<string?> table = new("--out") { Description = "Write set, row and place of each feature (CSV)." };
    private readonly Option<int> limit = new("--limit") { Description = "Most features of a set, spread evenly.", DefaultValueFactory = _ => 2000 };

    public ProjectCommand() : base("project", "Shows features of preference pairs in a plane, and which sets are neighbours.")
    {
        Arguments.Add(files);
        foreach (Option option in new Option[] { plot, table, limit })
            Options.Add(option);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        using Interruption interruption = new();
        string[] paths = result.GetValue(files)!;
        if (paths.Length > Colours.Length || result.GetValue(limit) < 1)
            throw new ArgumentException($"At most {Colours.Length} sets can be told apart, and --limit is at least 1.");
        List<float[]> vectors = [];
        List<int> sets = [], rows = [];
        for (int set = 0; set < paths.Length; set++)
            Read(paths[set], set, result.GetValue(limit));
        if (vectors.Count < 2)
            throw new DataException("One feature lies anywhere: give at least two.");
        string[] names = [.. paths.Select(path => Path.GetFileNameWithoutExtension(path))];
        PrincipalPlane plane = PrincipalPlane.Of(vectors);
        double[,] shares = Neighbours.Shares(vectors, sets, paths.Length, interruption.Stop);
        Line($"{vectors.Count} features; the plane keeps {plane.Shares.Sum():P1} of their variance");
        Line($"| nearest neighbours of | {string.Join(" | ", names)} |\n|---|{string.Concat(names.Select(_ => "---:|"))}");
        for (int set = 0; set < names.Length; set++)
            Line($"| {names[set]} | {string.Join(" | ", Enumerable.Range(0, names.Length).Select(other => shares[set, other].ToString("P1", CultureInfo.InvariantCulture)))} |");
        if (result.GetValue(table) is { } csv)
            File.WriteAllLines(csv, [.. plane.Points.Select((point, index) => string.Create(CultureInfo.InvariantCulture, $"{names[sets[index]]},{rows[index]},{point[0]:G6},{point[1]:G6}")).Prepend("set,row,x,y")]);
        if (result.GetValue(plot) is { } picture)
            File.WriteAllText(picture, Draw(plane, sets, names));
        return 0;

        void Read(string path, int set, int most)
        {
            using FeatureFile file = FeatureFile.Open(path);
            if (vectors.Count > 0 && vectors[0].Length != file.Columns)
                throw new DataException($"{path} has features of {file.Columns} values, {paths[0]} of {vectors[0].Length}; they must be of one model.");
            int count = Math.Min(most, file.Rows);
            for (int index = 0; index < count; index++)
            {
                float[] vector = new float[file.Columns];
                rows.Add((int)((long)index * file.Rows / count));
                file.Read(rows[^1], vector);
                vectors.Add(vector);
                sets.Add(set);
            }
        }

        static void Line(FormattableString text) => Console.WriteLine(text.ToString(CultureInfo.InvariantCulture));
    }

    private static string Draw(PrincipalPlane plane, List<int> sets, string[] names)
    {
        const double width = 720, height = 560, edge = 24;
        double left = plane.Points.Min(point => point[0]), right = plane.Points.Max(point => point[0]), low = plane.Points.Min(point => point[1]), high = plane.Points.Max(point => point[1]);
        IEnumerable<string> dots = plane.Points.Select((point, index) => string.Create(CultureInfo.InvariantCulture,
            $"<circle cx=\"{Place(point[0], left, right, width):F1}\" cy=\"{height - Place(point[1], low, high, height):F1}\" r=\"3\" fill=\"{Colours[sets[index]]}\" fill-opacity=\"0.6\"/>"));
        IEnumerable<string> legend = names.Select((name, set) => string.Create(CultureInfo.InvariantCulture,
            $"<text x=\"{edge}\" y=\"{edge + 18 * set}\" font-family=\"sans-serif\" font-size=\"14\" fill=\"{Colours[set]}\">{WebUtility.HtmlEncode(name)}</text>"));
        return string.Create(CultureInfo.InvariantCulture, $"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n")
            + string.Join('\n', dots.Concat(legend)) + "\n</svg>\n";

        static double Place(double value, double from, double to, double length) => to > from ? edge + (value - from) / (to - from) * (length - 2 * edge) : length / 2;
    }
}
