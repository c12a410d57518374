using System.Globalization;
using System.Xml.Linq;
using XDeepServe.Alignment.Selection;

namespace XDeepServe.Alignment.Tests.Selection;

public sealed class SelectionPlotTests : IDisposable
{
    private readonly string path = Path.GetTempFileName();

    public void Dispose() => File.Delete(path);

    [Fact]
    public void Bars_hold_every_score_and_points_every_measured_pass()
    {
        // Ten scores of 0, five of 1 and the 40 bins between them: the tallest bar, 230 high, is ten pairs.
        double[] scores = [.. Enumerable.Repeat(0.0, 10), .. Enumerable.Repeat(1.0, 5)];
        using HostPasses passes = new(new DenseCosts([.. Enumerable.Range(0, 15 * 4).Select(place => place * 7 % 11 / 11f)], 15, 4), 1, TestContext.Current.CancellationToken);
        TransportPlan plan = Sinkhorn.Solve(passes, new SinkhornSettings());
        Assert.Equal(plan.Errors.Select(error => error.Pass).Distinct().Order(), plan.Errors.Select(error => error.Pass));
        Assert.InRange(plan.Errors[^1].Error, 0, 1e-4);
        Assert.Equal(plan.Passes - 1, plan.Errors[^1].Pass); // the last pass makes the plan

        SelectionPlot.Write(path, new SelectionReport { Method = SelectionMethod.Transport, Candidates = 15, Targets = 4, Columns = 2, Kept = [0, 1, 14], Scores = scores, LowerIsBetter = true, Plan = plan });
        XElement[] drawn = [.. XDocument.Load(path).Descendants()];
        Assert.Equal(15, Pairs("#bbbbbb"), 3);
        Assert.Equal(3, Pairs("#0072b2"), 3);
        Assert.Equal(plan.Errors.Count, drawn.Count(element => element.Name.LocalName == "circle"));

        double Pairs(string colour) => drawn.Where(element => (string?)element.Attribute("fill") == colour && element.Name.LocalName == "rect").Sum(element => double.Parse(element.Attribute("height")!.Value, CultureInfo.InvariantCulture)) / 23;
    }
}
