using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Selection;

namespace XDeepServe.Alignment.Tests.Selection;

public sealed class FeatureTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("features").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_file_keeps_its_rows(bool halves)
    {
        float[][] rows = Gaussian(5, 19, 1);
        using FeatureFile file = FeatureFile.Open(Write("a", rows, halves, seed: 9));
        Assert.Equal((5, 19, 9UL), (file.Rows, file.Columns, file.Seed));
        float[] read = new float[19];
        for (int row = 0; row < 5; row++)
        {
            file.Read(row, read);
            for (int i = 0; i < 19; i++)
                Assert.Equal(rows[row][i], read[i], halves ? Math.Abs(rows[row][i]) / 256 : 0);
        }
    }

    [Fact]
    public void Files_that_are_none_cut_off_or_unfinished_are_refused()
    {
        string text = Path.Combine(folder, "text"), cut = Write("cut", Gaussian(3, 8, 1)), unfinished = Path.Combine(folder, "unfinished");
        File.WriteAllText(text, "not features");
        File.WriteAllBytes(cut, File.ReadAllBytes(cut)[..^3]);
        Assert.Throws<DataException>(() => FeatureFile.Open(text));
        Assert.Throws<DataException>(() => FeatureFile.Open(cut));
        using (FeatureWriter writer = new(unfinished, 8, 0))
        {
            writer.Append([1, 2, 3, 4, 5, 6, 7, 8]);
            Assert.Throws<ArgumentException>(() => writer.Append([1, 2, 3, 4, 5, 6, 7, float.NaN]));
        }
        Assert.Contains("not finished", Assert.Throws<DataException>(() => FeatureFile.Open(unfinished)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(64, 1)]
    [InlineData(192, 2)]
    public void A_projection_is_the_product_with_its_signs_however_it_is_cut(int columns, int threads)
    {
        const int Parameters = 301;
        float[] gradient = Gaussian(1, Parameters, 3)[0];
        RademacherProjection projection = new(columns, seed: 5, threads);
        double[] naive = new double[columns];
        for (int parameter = 0; parameter < Parameters; parameter++)
            for (int column = 0; column < columns; column++)
                naive[column] += (projection.Signs(parameter, column / 64) >> (column % 64) & 1) == 1 ? -gradient[parameter] : gradient[parameter];
        float[] whole = new float[columns], pieces = new float[columns];
        projection.Add(gradient, 0, whole);
        projection.Add(gradient.AsMemory(100), 100, pieces);
        projection.Add(gradient.AsMemory(0, 100), 0, pieces);
        for (int column = 0; column < columns; column++)
        {
            Assert.Equal(naive[column], whole[column], 1e-3);
            Assert.Equal(naive[column], pieces[column], 1e-3);
        }
    }

    [Fact]
    public void A_projection_keeps_inner_products()
    {
        const int Parameters = 2000, Columns = 4096;
        float[][] vectors = Gaussian(6, Parameters, 8);
        for (int i = 0; i < Parameters; i++)
            vectors[1][i] = vectors[0][i] + (0.3f * vectors[1][i]); // one pair that is near
        float[][] projected = [.. vectors.Select(vector =>
        {
            RademacherProjection.Normalise(vector);
            float[] sums = new float[Columns];
            new RademacherProjection(Columns, seed: 1).Add(vector, 0, sums);
            return sums;
        })];
        for (int a = 0; a < 6; a++)
            for (int b = 0; b < 6; b++)
                Assert.Equal(Dot(vectors[a], vectors[b]), Dot(projected[a], projected[b]) / Columns, 5 / Math.Sqrt(Columns));
    }

    [Theory]
    [InlineData(7, 5, 3, long.MaxValue)]
    [InlineData(133, 9, 37, 0)]            // nothing is kept
    [InlineData(300, 6, 64, 128 * 6 * 4)]  // one block is
    public void Distances_are_those_of_the_naive_sum(int candidates, int targets, int width, long memory)
    {
        float[][] left = Gaussian(candidates, width, 1), right = Gaussian(targets, width, 2);
        left[^1] = right[^1];
        using FeatureFile a = FeatureFile.Open(Write("a", left)), b = FeatureFile.Open(Write("b", right));
        FeatureCosts costs = new(a, b, memory);
        float[] scratch = new float[CostBlocks.BlockRows * targets];
        for (int pass = 0; pass < 2; pass++)
            for (int row = 0; row < candidates; row++)
            {
                ReadOnlySpan<float> block = costs.Block(row / CostBlocks.BlockRows, scratch);
                for (int column = 0; column < targets; column++)
                    Assert.Equal(Math.Sqrt(left[row].Zip(right[column], (x, y) => ((double)x - y) * ((double)x - y)).Sum()), block[(row % CostBlocks.BlockRows * targets) + column], 1e-4);
            }
        Assert.Equal(0, costs.Block((candidates - 1) / CostBlocks.BlockRows, scratch)[^1]);
    }

    [Fact]
    public void Features_of_different_projections_are_not_compared()
    {
        using FeatureFile a = FeatureFile.Open(Write("a", Gaussian(2, 8, 1), seed: 1)), b = FeatureFile.Open(Write("b", Gaussian(2, 8, 1), seed: 2));
        Assert.Contains("seeds 1 and 2", Assert.Throws<DataException>(() => new FeatureCosts(a, b, 0)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(SelectionMethod.Transport)]
    [InlineData(SelectionMethod.Distance)]
    [InlineData(SelectionMethod.Less)]
    public void A_planted_subset_is_found_where_lots_miss_it(SelectionMethod method)
    {
        const int Candidates = 300, Planted = 60, Width = 96;
        float[][] noise = Gaussian(Candidates, Width, 4), wanted = Gaussian(40, Width, 5);
        float[] direction = Gaussian(1, Width, 6)[0];
        for (int row = 0; row < Candidates; row++) // every fifth one is planted
            noise[row] = Unit(noise[row].Zip(direction, (value, along) => value + (row % 5 == 0 ? 1.5f * along : 0)));
        wanted = [.. wanted.Select(row => Unit(row.Zip(direction, (value, along) => value + (1.5f * along))))];
        using FeatureFile a = FeatureFile.Open(Write("a", noise)), b = FeatureFile.Open(Write("b", wanted));
        SelectionReport chosen = Select(a, b, new SelectionSettings { Method = method, Keep = Planted });
        SelectionReport drawn = Select(a, b, new SelectionSettings { Method = SelectionMethod.Random, Keep = Planted, Seed = 3 });
        Assert.Equal(Planted, chosen.Kept.Distinct().Count());
        Assert.InRange(Found(chosen), 0.9, 1);
        Assert.InRange(Found(drawn), 0, 0.4);
        Assert.Equal(Candidates, Select(a, b, new SelectionSettings { Method = SelectionMethod.All, Keep = 1 }).Kept.Length);

        static double Found(SelectionReport report) => report.Kept.Count(row => row % 5 == 0) / (double)Planted;
    }

    [Fact]
    public void Reports_hold_scores_and_what_vouches_for_them()
    {
        using FeatureFile a = FeatureFile.Open(Write("a", Gaussian(12, 8, 1))), b = FeatureFile.Open(Write("b", Gaussian(5, 8, 2)));
        SelectionReport report = Select(a, b, new SelectionSettings { Keep = 4 });
        report.WriteJson(Path.Combine(folder, "report.json"));
        report.WriteCsv(Path.Combine(folder, "scores.csv"));
        System.Text.Json.JsonElement json = System.Text.Json.JsonElement.Parse(File.ReadAllText(Path.Combine(folder, "report.json")));
        Assert.InRange(json.GetProperty("marginal_error").GetDouble(), 0, 1e-3);
        Assert.True(json.GetProperty("mean_kept_score").GetDouble() < json.GetProperty("mean_score").GetDouble());
        string[] lines = File.ReadAllLines(Path.Combine(folder, "scores.csv"));
        Assert.Equal((13, 4), (lines.Length, lines.Count(line => line.EndsWith(",1", StringComparison.Ordinal))));
    }

    private static SelectionReport Select(FeatureFile candidates, FeatureFile targets, SelectionSettings settings) => Selector.Select(candidates, targets, settings, cancel: TestContext.Current.CancellationToken);

    private string Write(string name, float[][] rows, bool halves = false, ulong seed = 0)
    {
        string path = Path.Combine(folder, name);
        using FeatureWriter writer = new(path, rows[0].Length, seed, halves);
        foreach (float[] row in rows)
            writer.Append(row);
        writer.Complete();
        return path;
    }

    private static float[][] Gaussian(int rows, int columns, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, rows).Select(_ => Enumerable.Range(0, columns).Select(_ => (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()))).ToArray())];
    }

    private static float[] Unit(IEnumerable<float> values)
    {
        float[] row = [.. values];
        RademacherProjection.Normalise(row);
        return row;
    }

    private static double Dot(float[] a, float[] b) => a.Zip(b, (x, y) => (double)x * y).Sum();
}
