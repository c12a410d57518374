using TorchSharp;
using static TorchSharp.torch;

namespace XDeepServe.Training.Stages;

/// <summary>What a stage makes of a batch.</summary>
/// <param name="Losses">Loss of each example, times its weight: float32 <c>[examples]</c>.</param>
/// <param name="Differences">How much better the better answer came out, positive where it is right: float32 <c>[examples]</c>; null where nothing is compared.</param>
public sealed record Outcome(Tensor Losses, Tensor? Differences);
