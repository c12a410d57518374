using TorchSharp;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Network;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace XDeepServe.Training.Losses;

/// <summary>A language model's loss over the learned tokens of sequences.</summary>
public static class TokenLoss
{
    /// <summary>Sum of −log p over each sequence's learned tokens.</summary>
    /// <param name="network">Gives the logits.</param>
    /// <param name="hidden"><c>[sequences, length, hidden]</c></param>
    /// <param name="batch">Gives the targets.</param>
    /// <returns>float32 <c>[sequences]</c></returns>
    public static Tensor Sums(Decoder network, Tensor hidden, Batch batch)
    {
        // Logits are made for learned positions alone: the vocabulary is many times wider than a hidden state.
        Tensor positions = batch.Targets.flatten().ne(Batch.Unlearned).nonzero().squeeze(1);
        Tensor logits = network.Logits(hidden.flatten(0, 1).index_select(0, positions)).to(ScalarType.Float32);
        Tensor losses = functional.cross_entropy(logits, batch.Targets.flatten().index_select(0, positions), reduction: Reduction.None);
        Tensor rows = positions.div(batch.Ids.shape[1], RoundingMode.floor);
        return zeros(batch.Ids.shape[0], device: hidden.device).index_add(0, rows, losses, 1);
    }
}
