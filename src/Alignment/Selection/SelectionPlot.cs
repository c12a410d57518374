using System.Globalization;
using System.Text;

namespace XDeepServe.Alignment.Selection;

/// <summary>A picture of a selection: how the scores of all candidates and of those kept lie, and, for entropic transport, how far the plan was off before each pass.</summary>
public static class SelectionPlot
{
    private const int Bins = 40, Width = 440, Height = 320;          // of one panel
    private const double Left = 70, Right = 425, Top = 40, Bottom = 270; // of its axes

    /// <summary>Draws it as SVG.</summary>
    /// <param name="path">Where.</param>
    /// <param name="report">What was found.</param>
    public static void Write(string path, SelectionReport report)
    {
        int width = report.Plan is { Errors.Count: > 0 } ? 2 * Width : Width;
        StringBuilder svg = new(string.Create(CultureInfo.InvariantCulture, $"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {Height}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{width}\" height=\"{Height}\" fill=\"white\"/>\n"));
        Histogram(svg, report);
        if (width > Width)
            Errors(svg, report.Plan!);
        File.WriteAllText(path, svg.Append("</svg>\n").ToString());
    }

    private static void Histogram(StringBuilder svg, SelectionReport report)
    {
        double low = report.Scores.Min(), high = report.Scores.Max(), bin = Math.Max((high - low) / Bins, 1e-12);
        int[] all = Count(report.Scores), kept = Count(report.Kept.Select(row => report.Scores[row]));
        int most = all.Max();
        foreach ((int[] counts, string colour) in new[] { (all, "#bbbbbb"), (kept, "#0072b2") })
            for (int place = 0; place < Bins; place++)
                if (counts[place] > 0)
                    Add(svg, $"<rect x=\"{Left + ((Right - Left) * place / Bins):F1}\" y=\"{Bottom - ((Bottom - Top) * counts[place] / most):F1}\" width=\"{(Right - Left) / Bins:F1}\" height=\"{(Bottom - Top) * counts[place] / most:F1}\" fill=\"{colour}\"/>");
        Axes(svg, $"score ({(report.LowerIsBetter ? "lower" : "higher")} is better)", "pairs");
        Add(svg, $"<text x=\"{Left}\" y=\"{Bottom + 16}\" text-anchor=\"middle\">{low:G4}</text><text x=\"{Right}\" y=\"{Bottom + 16}\" text-anchor=\"end\">{high:G4}</text><text x=\"{Left - 6}\" y=\"{Top + 4}\" text-anchor=\"end\">{most}</text>");
        Add(svg, $"<text x=\"{Left}\" y=\"24\"><tspan fill=\"#888888\">all {report.Candidates}</tspan>, <tspan fill=\"#0072b2\">kept {report.Kept.Length}</tspan></text>");

        int[] Count(IEnumerable<double> scores)
        {
            int[] counts = new int[Bins];
            foreach (double score in scores)
                counts[Math.Min(Bins - 1, (int)((score - low) / bin))]++;
            return counts;
        }
    }

    private static void Errors(StringBuilder svg, TransportPlan plan)
    {
        // A power of ten each; what is nothing is drawn at the bottom.
        double[] powers = [.. plan.Errors.Select(error => Math.Log10(Math.Max(error.Error, 1e-16)))];
        double low = Math.Floor(powers.Min()), high = Math.Max(Math.Ceiling(powers.Max()), low + 1);
        int last = plan.Errors[^1].Pass;
        svg.Append(CultureInfo.InvariantCulture, $"<g transform=\"translate({Width} 0)\">\n");
        for (double power = low; power <= high; power++)
            Add(svg, $"<line x1=\"{Left}\" x2=\"{Right}\" y1=\"{Y(power):F1}\" y2=\"{Y(power):F1}\" stroke=\"#dddddd\"/><text x=\"{Left - 6}\" y=\"{Y(power) + 4:F1}\" text-anchor=\"end\">1e{power}</text>");
        for (int place = 0; place < powers.Length; place++)
            Add(svg, $"<circle cx=\"{Left + ((Right - Left) * plan.Errors[place].Pass / last):F1}\" cy=\"{Y(powers[place]):F1}\" r=\"2.5\" fill=\"#d55e00\"/>");
        Axes(svg, "pass over the costs", "L1 marginal error before it");
        Add(svg, $"<text x=\"{Right}\" y=\"{Bottom + 16}\" text-anchor=\"end\">{last}</text><text x=\"{Left}\" y=\"24\">ε {plan.Regularisation:G3}; at the end {plan.MarginalError:E1}</text>");
        svg.Append("</g>\n");

        double Y(double power) => Bottom - ((Bottom - Top) * (power - low) / (high - low));
    }

    private static void Axes(StringBuilder svg, string x, string y) => Add(svg,
        $"<path d=\"M{Left} {Top}V{Bottom}H{Right}\" fill=\"none\" stroke=\"#444444\"/><text x=\"{(Left + Right) / 2}\" y=\"{Bottom + 36}\" text-anchor=\"middle\">{x}</text><text transform=\"translate(18 {(Top + Bottom) / 2}) rotate(-90)\" text-anchor=\"middle\">{y}</text>");

    private static void Add(StringBuilder svg, FormattableString text) => svg.Append(text.ToString(CultureInfo.InvariantCulture)).Append('\n');
}
