using XDeepServe.Models.Loading;

namespace XDeepServe.Models.Calibrating;

/// <summary>
/// Finds smoothing factors (xDeepServe 4.7; SmoothQuant): where a few input columns of a projection are far larger than the rest,
/// part of their range moves into the weights. The factor of a column is (largest input)^s / (largest weight)^(1 - s), s = 0.5.
/// Inverse factors go where the input comes from, so that nothing is left to do while the model runs: a norm's gain, the rows of
/// the up projection before a down projection, the rows that make values before an output projection.
/// </summary>
/// <param name="checkpoint">The model.</param>
/// <param name="config">Its shape.</param>
/// <param name="ranges">What its projections saw.</param>
public sealed class Smoother(Checkpoint checkpoint, ModelConfig config, InputRanges ranges)
{
    private const double Strength = 0.5;
    private readonly Smoothing smoothing = new();

    /// <summary>Finds the factors of all layers.</summary>
    public Smoothing Find()
    {
        for (int layer = 0; layer < config.Layers; layer++)
        {
            string prefix = $"model.layers.{layer}", attention = $"{prefix}.self_attn", feedForward = $"{prefix}.mlp";
            Norm($"{prefix}.input_layernorm.weight", Names(attention, "q_proj", "k_proj", "v_proj", "q_a_proj", "kv_a_proj_with_mqa"));
            Norm($"{attention}.q_a_layernorm.weight", Names(attention, "q_b_proj"));
            string[] units = [feedForward, $"{feedForward}.shared_experts", .. Enumerable.Range(0, config.Experts?.Count ?? 0).Select(expert => $"{feedForward}.experts.{expert}")];
            string[] inputs = [.. units.SelectMany(unit => Names(unit, "gate_proj", "up_proj"))];
            Norm($"{prefix}.post_attention_layernorm.weight", inputs, $"{feedForward}.gate.weight");
            foreach (string unit in units)
                Pair($"{unit}.up_proj.weight", $"{unit}.down_proj.weight");
            Output(attention);
        }
        return smoothing;
    }

    private string[] Names(string prefix, params string[] names) => [.. names.Select(name => $"{prefix}.{name}.weight").Where(checkpoint.Has)];

    /// <summary>A norm and the projections of its output; others take the output too and are not quantised.</summary>
    private void Norm(string gain, string[] projections, params string[] others)
    {
        if (projections.Length == 0 || !checkpoint.TryGet(gain, out StoredTensor? norm))
            return;
        float[] largest = new float[norm.Columns];
        foreach (string name in projections)
            if (ranges.Of(name) is { } seen)
                Raise(largest, seen);
        if (Factors(largest, projections) is not { } factors)
            return;
        smoothing.DivideRows(gain, factors);
        foreach (string name in projections.Concat(others.Where(checkpoint.Has)))
            smoothing.MultiplyColumns(name, [.. factors]);
    }

    /// <summary>A projection whose rows are the columns of the next.</summary>
    private void Pair(string before, string after)
    {
        if (!checkpoint.Has(before) || ranges.Of(after) is not { } largest || Factors(largest, [after]) is not { } factors)
            return;
        smoothing.DivideRows(before, factors);
        smoothing.MultiplyColumns(after, factors);
    }

    /// <summary>Values and the output projection: each key-value head serves several query heads, which share factors.</summary>
    private void Output(string attention)
    {
        string after = $"{attention}.o_proj.weight", values = $"{attention}.v_proj.weight", expansion = $"{attention}.kv_b_proj.weight";
        if (ranges.Of(after) is not { } largest)
            return;
        if (config.Latent is { } latent)
        {
            if (Factors(largest, [after]) is not { } factors || !checkpoint.TryGet(expansion, out StoredTensor? tensor))
                return;
            float[] rows = [.. Enumerable.Repeat(1f, tensor.Rows)];
            for (int i = 0; i < factors.Length; i++)
                rows[i / latent.Value * (latent.Plain + latent.Value) + latent.Plain + i % latent.Value] = factors[i];
            smoothing.DivideRows(expansion, rows);
            smoothing.MultiplyColumns(after, factors);
            return;
        }
        if (!checkpoint.TryGet(values, out StoredTensor? made) || checkpoint.Has($"{attention}.v_proj.bias"))
            return;
        int width = largest.Length / config.Heads, share = config.Heads / (made.Rows / width);
        int Row(int column) => column / width / share * width + column % width;
        float[] shared = new float[made.Rows];
        for (int i = 0; i < largest.Length; i++)
            shared[Row(i)] = MathF.Max(shared[Row(i)], largest[i]);
        for (int i = 0; i < largest.Length; i++)
            largest[i] = shared[Row(i)];
        if (Factors(largest, [after], Row) is not { } found)
            return;
        float[] perRow = new float[made.Rows];
        for (int i = 0; i < found.Length; i++)
            perRow[Row(i)] = found[i];
        smoothing.DivideRows(values, perRow);
        smoothing.MultiplyColumns(after, found);
    }

    /// <summary>The factor of each column; null if nothing was seen.</summary>
    /// <param name="inputs">Largest input of each column.</param>
    /// <param name="names">The projections that take them.</param>
    /// <param name="share">Columns with equal results share a factor; null if none do.</param>
    private float[]? Factors(float[] inputs, string[] names, Func<int, int>? share = null)
    {
        if (inputs.All(value => value == 0))
            return null;
        float[] weights = new float[inputs.Length];
        float[] row = new float[inputs.Length];
        foreach (string name in names)
            if (checkpoint.TryGet(name, out StoredTensor? tensor))
                for (int i = 0; i < tensor.Rows; i++)
                {
                    tensor.Read(i, row);
                    Raise(weights, row);
                }
        if (share is not null)
        {
            float[] most = new float[inputs.Length];
            for (int i = 0; i < weights.Length; i++)
                most[share(i)] = MathF.Max(most[share(i)], weights[i]);
            for (int i = 0; i < weights.Length; i++)
                weights[i] = most[share(i)];
        }
        float[] factors = new float[inputs.Length];
        for (int i = 0; i < factors.Length; i++)
            factors[i] = inputs[i] == 0 || weights[i] == 0 ? 1 : (float)Math.Clamp(Math.Pow(inputs[i], Strength) / Math.Pow(weights[i], 1 - Strength), 1e-3, 1e3);
        return factors;
    }

    private static void Raise(float[] largest, float[] values)
    {
        for (int i = 0; i < largest.Length; i++)
            largest[i] = MathF.Max(largest[i], MathF.Abs(values[i]));
    }
}
