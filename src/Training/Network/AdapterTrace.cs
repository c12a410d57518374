using static TorchSharp.torch;

namespace XDeepServe.Training.Network;

/// <summary>What passed through one projection with an adapter.</summary>
/// <param name="Name">The projection's.</param>
/// <param name="Input"><c>[sequences, length, in]</c></param>
/// <param name="Inner">The input times Aᵀ: <c>[sequences, length, rank]</c>.</param>
/// <param name="Output">Of projection and adapter: <c>[sequences, length, out]</c>.</param>
public sealed record AdapterPass(string Name, Tensor Input, Tensor Inner, Tensor Output);

/// <summary>
/// What passed through a network's adapters in one run over a batch. A sequence's own gradient with respect to an adapter is a sum of outer products of what
/// went in and of the gradient of what came out, so that one run backward over a batch gives the gradients of each of its sequences.
/// </summary>
public sealed class AdapterTrace
{
    private readonly List<AdapterPass> passes = [];

    /// <summary>In the order in which they ran.</summary>
    public IReadOnlyList<AdapterPass> Passes => passes;

    /// <summary>Notes one.</summary>
    public void Add(AdapterPass pass) => passes.Add(pass);

    /// <summary>Gradients of examples, each with respect to the adapters alone.</summary>
    /// <param name="losses">Each example's loss; depends on its own sequences alone. <c>[examples]</c></param>
    /// <param name="weights">Hold the adapters.</param>
    /// <param name="scale">On an adapter's output.</param>
    /// <returns>By the adapter's name, float32 <c>[examples, values of the adapter]</c>.</returns>
    public IReadOnlyDictionary<string, Tensor> Gradients(Tensor losses, TrainedWeights weights, double scale)
    {
        long examples = losses.shape[0];
        IList<Tensor> outputs = autograd.grad([losses.sum()], [.. passes.Select(pass => pass.Output)]);
        using IDisposable unrecorded = no_grad();
        Dictionary<string, Tensor> gradients = new(StringComparer.Ordinal);
        for (int i = 0; i < passes.Count; i++)
        {
            Tensor output = Rows(outputs[i]) * scale, inner = output.matmul(weights[passes[i].Name + LoraSettings.Up].to(ScalarType.Float32));
            gradients[passes[i].Name + LoraSettings.Down] = inner.transpose(1, 2).bmm(Rows(passes[i].Input)).flatten(1);
            gradients[passes[i].Name + LoraSettings.Up] = output.transpose(1, 2).bmm(Rows(passes[i].Inner)).flatten(1);
        }
        return gradients;

        // All positions of an example's sequences: [examples, positions, width].
        Tensor Rows(Tensor tensor) => tensor.to(ScalarType.Float32).reshape(examples, -1, tensor.shape[2]);
    }
}
