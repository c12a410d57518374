namespace XDeepServe.Models.Loading;

/// <summary>
/// Factors that a conversion multiplies weights with, so that the model computes the same while its activations have a smaller
/// range (SmoothQuant): what a norm's gain, or a projection's rows, lose, the columns of the next projection gain.
/// </summary>
public sealed class Smoothing
{
    private readonly Dictionary<string, float[]> rows = new(StringComparer.Ordinal), columns = new(StringComparer.Ordinal);

    /// <summary>Tensors that change.</summary>
    public int Count => rows.Keys.Union(columns.Keys).Count();

    /// <summary>Divides the values of a vector, or the rows of a matrix, by factors.</summary>
    public void DivideRows(string name, float[] factors) => Put(rows, name, [.. factors.Select(factor => 1 / factor)]);

    /// <summary>Multiplies the columns of a matrix by factors.</summary>
    public void MultiplyColumns(string name, float[] factors) => Put(columns, name, factors);

    /// <summary>Changes a row that was read.</summary>
    /// <param name="tensor">Where it was read.</param>
    /// <param name="row">Which row.</param>
    /// <param name="values">The row.</param>
    public void Apply(StoredTensor tensor, int row, Span<float> values)
    {
        if (columns.TryGetValue(tensor.Name, out float[]? across))
            for (int i = 0; i < values.Length; i++)
                values[i] *= across[i];
        if (!rows.TryGetValue(tensor.Name, out float[]? down))
            return;
        bool vector = tensor.Shape.Length == 1;
        for (int i = 0; i < values.Length; i++)
            values[i] *= vector ? down[i] : down[row];
    }

    private static void Put(Dictionary<string, float[]> all, string name, float[] factors)
    {
        if (all.TryGetValue(name, out float[]? before))
            for (int i = 0; i < factors.Length; i++)
                factors[i] *= before[i];
        all[name] = factors;
    }
}
