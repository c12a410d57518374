namespace XDeepServe.Kernels;

/// <summary>Sees the inputs of products while a model runs: for calibration. Called on the thread that runs the operations.</summary>
public abstract class ProductObserver
{
    /// <summary>A weight was made from rows.</summary>
    public abstract void Prepared(Weight weight, WeightSource source);

    /// <summary>Rows are about to be multiplied with a weight.</summary>
    /// <param name="weight">The weight.</param>
    /// <param name="input">F32 rows; may be read by the host.</param>
    /// <param name="ids">Groups of each row, as <see cref="Backend.GroupedLinear"/> takes them; empty for a weight without groups.</param>
    public abstract void Multiplies(Weight weight, Tensor input, Tensor ids);
}
