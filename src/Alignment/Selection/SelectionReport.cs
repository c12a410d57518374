using System.Globalization;
using System.Text.Json;
using XDeepServe.Alignment.Data;

namespace XDeepServe.Alignment.Selection;

/// <summary>What a selection found.</summary>
public sealed record SelectionReport
{
    /// <summary>How candidates were scored.</summary>
    public required SelectionMethod Method { get; init; }

    /// <summary>Candidates.</summary>
    public required int Candidates { get; init; }

    /// <summary>Targets.</summary>
    public required int Targets { get; init; }

    /// <summary>Values of a feature.</summary>
    public required int Columns { get; init; }

    /// <summary>Rows kept, the best first.</summary>
    public required int[] Kept { get; init; }

    /// <summary>A score for each candidate.</summary>
    public required double[] Scores { get; init; }

    /// <summary>Whether low scores are good.</summary>
    public required bool LowerIsBetter { get; init; }

    /// <summary>What vouches for entropic transport; null for other methods.</summary>
    public TransportPlan? Plan { get; init; }

    /// <summary>Writes everything but the scores as one JSON object.</summary>
    public void WriteJson(string path) => File.WriteAllText(path, JsonSerializer.Serialize(new
    {
        method = Method.ToString().ToLowerInvariant(),
        candidates = Candidates,
        targets = Targets,
        columns = Columns,
        lower_is_better = LowerIsBetter,
        marginal_error = Plan?.MarginalError,
        regularisation = Plan?.Regularisation,
        transport_cost = Plan?.Cost,
        passes = Plan?.Passes,
        errors = Plan?.Errors.Select(error => new { pass = error.Pass, regularisation = error.Regularisation, error = error.Error }),
        mean_score = Scores.Average(),
        mean_kept_score = Kept.Average(row => Scores[row]),
        kept = Kept,
    }) + "\n");

    /// <summary>Writes row, score and whether it was kept, one candidate a line.</summary>
    public void WriteCsv(string path)
    {
        HashSet<int> kept = [.. Kept];
        using StreamWriter writer = new(path);
        writer.Write("row,score,kept\n");
        for (int row = 0; row < Scores.Length; row++)
            writer.Write(string.Create(CultureInfo.InvariantCulture, $"{row},{Scores[row]:G9},{(kept.Contains(row) ? 1 : 0)}\n"));
    }

    /// <summary>Writes the pairs kept as JSON lines, the best first.</summary>
    /// <param name="source">File of the candidates, in the order of their features.</param>
    /// <param name="target">The file to write.</param>
    /// <exception cref="DataException">The file does not have as many pairs as there are candidates.</exception>
    public void WritePairs(string source, string target)
    {
        List<string> lines = [.. DataFile.Read(source).Select(row => row.ToJson(source, target))];
        if (lines.Count != Candidates)
            throw new DataException($"{source} has {lines.Count} pairs, but its features have {Candidates} rows; compute the features of this file.");
        File.WriteAllLines(target, Kept.Select(row => lines[row]));
    }
}
