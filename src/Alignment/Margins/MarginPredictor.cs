using System.Numerics.Tensors;
using System.Text.Json;
using XDeepServe.Alignment.Data;

namespace XDeepServe.Alignment.Margins;

/// <summary>
/// Predicts by how much a chosen answer is better from the pair's feature (LRHP's preference margin prediction): standardised values go through
/// linear layers with tanh between them; ridge regression is one layer.
/// </summary>
public sealed record MarginPredictor
{
    private static readonly JsonSerializerOptions Names = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    /// <summary>How it was fitted.</summary>
    public required string Method { get; init; }

    /// <summary>What is subtracted from each value; <c>[columns]</c>.</summary>
    public required double[] Mean { get; init; }

    /// <summary>What each value is divided by then; <c>[columns]</c>.</summary>
    public required double[] Scale { get; init; }

    /// <summary>The layers.</summary>
    public required IReadOnlyList<MarginLayer> Layers { get; init; }

    /// <summary>Predicts a margin, in the unit of the labels that it was fitted to.</summary>
    /// <param name="feature"><c>[columns]</c>.</param>
    public double Predict(ReadOnlySpan<float> feature)
    {
        double[] values = new double[Mean.Length];
        Standardise(feature, values);
        for (int layer = 0; layer < Layers.Count; layer++)
        {
            double[] next = new double[Layers[layer].Bias.Length];
            for (int row = 0; row < next.Length; row++)
                next[row] = Layers[layer].Bias[row] + TensorPrimitives.Dot<double>(Layers[layer].Weights[row], values);
            if (layer < Layers.Count - 1)
                TensorPrimitives.Tanh<double>(next, next);
            values = next;
        }
        return values[0];
    }

    /// <summary>Writes it as JSON.</summary>
    public void Write(string path) => File.WriteAllText(path, JsonSerializer.Serialize(this, Names) + "\n");

    /// <summary>Reads what <see cref="Write"/> wrote.</summary>
    /// <exception cref="DataException">It is something else.</exception>
    public static MarginPredictor Read(string path)
    {
        try
        {
            MarginPredictor read = JsonSerializer.Deserialize<MarginPredictor>(File.ReadAllText(path), Names) ?? throw new JsonException("null");
            int width = read.Mean.Length;
            bool fits = width > 0 && read.Scale.Length == width && read.Layers is [.., { Bias.Length: 1 }];
            foreach (MarginLayer layer in read.Layers)
            {
                fits &= layer.Weights.Length == layer.Bias.Length && layer.Weights.All(row => row.Length == width);
                width = layer.Bias.Length;
            }
            return fits ? read : throw new JsonException("its layers do not fit together");
        }
        catch (JsonException broken)
        {
            throw new DataException($"{path} is no margin predictor ({broken.Message}).", broken);
        }
    }

    internal void Standardise(ReadOnlySpan<float> feature, Span<double> values)
    {
        if (feature.Length != Mean.Length)
            throw new DataException($"The features have {feature.Length} values, but the predictor was fitted to {Mean.Length}.");
        for (int i = 0; i < feature.Length; i++)
            values[i] = (feature[i] - Mean[i]) / Scale[i];
    }

    /// <summary>A predictor that standardises by these features and has no layers yet.</summary>
    internal static MarginPredictor Standardising(string method, IReadOnlyList<float[]> features)
    {
        int columns = features[0].Length;
        double[] mean = new double[columns], scale = new double[columns];
        foreach (float[] feature in features)
            for (int i = 0; i < columns; i++)
                mean[i] += feature[i] / (double)features.Count;
        foreach (float[] feature in features)
            for (int i = 0; i < columns; i++)
                scale[i] += (feature[i] - mean[i]) * (feature[i] - mean[i]) / features.Count;
        for (int i = 0; i < columns; i++)
            scale[i] = scale[i] > 1e-24 ? Math.Sqrt(scale[i]) : 1; // a value that never changes says nothing
        return new MarginPredictor { Method = method, Mean = mean, Scale = scale, Layers = [] };
    }

    internal double[][] StandardiseAll(IReadOnlyList<float[]> features) => [.. features.Select(feature =>
    {
        double[] row = new double[Mean.Length];
        Standardise(feature, row);
        return row;
    })];
}

/// <summary>A linear layer.</summary>
/// <param name="Weights"><c>[outputs][inputs]</c>.</param>
/// <param name="Bias"><c>[outputs]</c>.</param>
public sealed record MarginLayer(double[][] Weights, double[] Bias);
