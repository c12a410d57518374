using System.CommandLine;
using System.Text.Json;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Selection;
using XDeepServe.Training.Transport;
using static TorchSharp.torch;

namespace XDeepServe.Training.Tests;

/// <summary>Entropic transport in TorchSharp beside that of Alignment.</summary>
public sealed class TransportTests : IDisposable
{
    private const int Columns = 64;
    private readonly string folder = Directory.CreateTempSubdirectory("xds-transport-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Theory]
    [InlineData(300, 70, 128, 1L << 30)]
    [InlineData(300, 70, 128, 0)]        // every block computed anew in each pass
    [InlineData(300, 70, 128, 40_000)]   // the first is kept
    [InlineData(5, 1, 2, 1L << 30)]
    [InlineData(40, 90, 2048, 1L << 30)]
    public void The_device_s_plan_is_the_processor_s(int rows, int targets, int blockRows, long memory)
    {
        using FeatureFile from = Write("from", rows, 1), to = Write("to", targets, 2);
        SinkhornSettings settings = new() { Regularisation = 0.01 };
        TransportPlan expected = Sinkhorn.Solve(new FeatureCosts(from, to, 1L << 30), settings, TestContext.Current.CancellationToken);
        using DeviceCosts costs = new(from, to, CPU, memory, blockRows);
        using DevicePasses passes = new(costs, TestContext.Current.CancellationToken);
        TransportPlan found = Sinkhorn.Solve(passes, settings);
        Assert.Equal(expected.Cost, found.Cost, 1e-4);
        Assert.Equal(expected.Regularisation, found.Regularisation, 1e-6);
        Assert.InRange(found.MarginalError, 0, 1e-3);
        for (int row = 0; row < rows; row++)
            Assert.Equal(expected.RowCosts[row], found.RowCosts[row], 1e-3);
    }

    [Fact]
    public void The_same_vector_is_at_no_distance()
    {
        using FeatureFile from = Write("from", 3, 1), to = Write("to", 3, 1);
        using DeviceCosts costs = new(from, to, CPU, 0);
        using Tensor block = costs.Block(0);
        for (int row = 0; row < 3; row++)
            Assert.InRange(block[row, row].item<float>(), 0, 1e-6f);
    }

    [Fact]
    public async Task The_command_selects_with_its_defaults_and_draws_what_it_found()
    {
        Write("from", 30, 1).Dispose();
        Write("to", 20, 2).Dispose();
        string[] arguments = ["--candidates", At("from"), "--targets", At("to"), "--keep", "7", "--report", At("report.json"), "--plot", At("plot.svg"), "--pairs", At("pairs.jsonl"), "--out", At("selected.jsonl"), "--device", "cpu"];
        await File.WriteAllLinesAsync(At("pairs.jsonl"), Enumerable.Range(0, 30).Select(row => $$"""{"prompt":"{{row}}","chosen":"a","rejected":"b"}"""), TestContext.Current.CancellationToken);
        Assert.Equal(0, await new SelectCommand().Parse(arguments).InvokeAsync(cancellationToken: TestContext.Current.CancellationToken));
        JsonElement kept = JsonElement.Parse(await File.ReadAllTextAsync(At("report.json"), TestContext.Current.CancellationToken)).GetProperty("kept");
        Assert.Equal(7, kept.GetArrayLength());
        Assert.Equal(kept.EnumerateArray().Select(row => $"{row}"), File.ReadLines(At("selected.jsonl")).Select(line => JsonElement.Parse(line).GetProperty("prompt").GetString()));
        Assert.True(File.Exists(At("plot.svg")));
    }

    [Fact]
    public async Task Devices_settings_and_features_that_cannot_be_are_refused()
    {
        Write("from", 30, 1).Dispose();
        Write("to", 20, 2).Dispose();
        string[] arguments = ["--candidates", At("from"), "--targets", At("to"), "--keep", "7", "--report", At("report.json")];
        Assert.Contains("'gpu'", Assert.Single(new SelectCommand().Parse([.. arguments, "--device", "gpu"]).Errors).Message, StringComparison.Ordinal);
        InvocationConfiguration thrown = new() { EnableDefaultExceptionHandler = false };
        foreach (string regularisation in (string[])["0", "NaN", "Infinity"])
            await Assert.ThrowsAsync<TrainingException>(() => new SelectCommand().Parse([.. arguments, "--regularisation", regularisation]).InvokeAsync(thrown, TestContext.Current.CancellationToken));
        byte[] damaged = await File.ReadAllBytesAsync(At("to"), TestContext.Current.CancellationToken);
        BitConverter.TryWriteBytes(damaged.AsSpan(^4), float.NaN);
        await File.WriteAllBytesAsync(At("to"), damaged, TestContext.Current.CancellationToken);
        Assert.Contains("NaN", (await Assert.ThrowsAsync<DataException>(() => new SelectCommand().Parse([.. arguments, "--device", "cpu"]).InvokeAsync(thrown, TestContext.Current.CancellationToken))).Message, StringComparison.Ordinal);
        Assert.False(File.Exists(At("report.json")));
    }

    private string At(string name) => Path.Combine(folder, name);

    private FeatureFile Write(string name, int rows, int seed)
    {
        string path = At(name);
        Random random = new(seed);
        float[] row = new float[Columns];
        using (FeatureWriter writer = new(path, Columns, 3))
        {
            for (int i = 0; i < rows; i++)
            {
                for (int column = 0; column < Columns; column++)
                    row[column] = random.NextSingle() - 0.5f + (0.3f * (i % 4));
                RademacherProjection.Normalise(row);
                writer.Append(row);
            }
            writer.Complete();
        }
        return FeatureFile.Open(path);
    }
}
