using TorchSharp;
using XDeepServe.Alignment.Selection;
using static TorchSharp.torch;

namespace XDeepServe.Training.Transport;

/// <summary>Passes of Sinkhorn on a device, block by block: nothing but a pass's error comes back from it.</summary>
public sealed class DevicePasses : TransportPasses
{
    private readonly DeviceCosts costs;
    private readonly CancellationToken cancel;
    private readonly Tensor f, g; // potentials of rows and columns, float64

    /// <summary>Prepares them.</summary>
    /// <param name="costs">Finite, not negative; stay the caller's.</param>
    /// <param name="cancel">Gives up.</param>
    public DevicePasses(DeviceCosts costs, CancellationToken cancel = default)
    {
        (this.costs, this.cancel) = (costs, cancel);
        f = zeros(costs.Rows, dtype: ScalarType.Float64, device: costs.Device).DetachFromDisposeScope();
        g = zeros(costs.Columns, dtype: ScalarType.Float64, device: costs.Device).DetachFromDisposeScope();
    }

    /// <summary>Solves entropic transport between two files of features.</summary>
    /// <param name="candidates">Sources.</param>
    /// <param name="targets">Sinks.</param>
    /// <param name="settings">Of the solver, and how many bytes of distances are held.</param>
    /// <param name="device">Where.</param>
    /// <param name="cancel">Gives up.</param>
    public static TransportPlan Solve(FeatureFile candidates, FeatureFile targets, SelectionSettings settings, Device device, CancellationToken cancel)
    {
        using DeviceCosts costs = new(candidates, targets, device, settings.Memory);
        using DevicePasses passes = new(costs, cancel);
        return Sinkhorn.Solve(passes, settings.Sinkhorn);
    }

    /// <inheritdoc/>
    public override int Rows => costs.Rows;

    /// <inheritdoc/>
    public override double Mean()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor sum = zeros(1, dtype: ScalarType.Float64, device: costs.Device);
        ForBlocks((_, values) => sum.add_(values.sum(ScalarType.Float64)));
        return sum.item<double>() / ((double)costs.Rows * costs.Columns);
    }

    /// <inheritdoc/>
    public override double Pass(double epsilon, bool measure)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor columns = g.to(ScalarType.Float32), off = zeros(1, dtype: ScalarType.Float64, device: costs.Device);
        Tensor gathered = empty(costs.Count, costs.Columns, dtype: ScalarType.Float64, device: costs.Device); // log-sum-exps of the columns within a block
        double logRows = Math.Log(costs.Rows);
        ForBlocks((block, values) =>
        {
            (int first, int count) = costs.Range(block);
            Tensor before = f.narrow(0, first, count), after = Scaled(columns, values, epsilon).logsumexp(1).to(ScalarType.Float64).add_(logRows).mul_(-epsilon);
            off.add_((before - after).div_(epsilon).exp_().sub_(1).abs_().sum());
            before.copy_(after);
            gathered[block].copy_(Scaled(after.to(ScalarType.Float32).unsqueeze(1), values, epsilon).logsumexp(0));
        });
        g.copy_(gathered.logsumexp(0).add_(Math.Log(costs.Columns)).mul_(-epsilon));
        return measure ? off.item<double>() / costs.Rows : double.PositiveInfinity;
    }

    /// <inheritdoc/>
    public override TransportPlan Finish(double epsilon, int passes)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor columns = g.to(ScalarType.Float32), rowCosts = empty(costs.Rows, device: costs.Device);
        Tensor reached = zeros(costs.Columns, dtype: ScalarType.Float64, device: costs.Device);
        ForBlocks((block, values) =>
        {
            (int first, int count) = costs.Range(block);
            Tensor shares = Scaled(columns, values, epsilon).softmax(1);
            rowCosts.narrow(0, first, count).copy_((shares * values).sum(1));
            reached.add_(shares.sum(0, type: ScalarType.Float64).div_(costs.Rows));
        });
        double[] row = [.. rowCosts.cpu().data<float>().Select(value => (double)value)];
        return new TransportPlan(row, row.Average(), epsilon, reached.sub_(1.0 / costs.Columns).abs_().sum().item<double>(), passes + 1);
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        f.Dispose();
        g.Dispose();
    }

    private static Tensor Scaled(Tensor potentials, Tensor values, double epsilon) => (potentials - values).mul_(1 / epsilon);

    private void ForBlocks(Action<int, Tensor> action)
    {
        using IDisposable unrecorded = no_grad();
        for (int block = 0; block < costs.Count; block++)
        {
            cancel.ThrowIfCancellationRequested();
            using DisposeScope scope = NewDisposeScope();
            action(block, costs.Block(block));
        }
    }
}
