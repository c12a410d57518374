using TorchSharp;
using XDeepServe.Models;
using XDeepServe.Models.Layers;
using static TorchSharp.torch;

namespace XDeepServe.Training.Network;

/// <summary>Rotary position embedding, from the engine's own frequencies.</summary>
internal static class Rotation
{
    /// <summary>Cosines and sines of positions 0 to length − 1, each <c>[length, width/2]</c>.</summary>
    public static (Tensor Cosines, Tensor Sines) Table(ModelConfig config, long length, ScalarType type, Device device)
    {
        using IDisposable unrecorded = no_grad();
        Tensor frequencies = tensor(RopeTable.Frequencies(config.Rope, config.HeadWidth), device: device);
        Tensor angles = arange(length, dtype: ScalarType.Float32, device: device).unsqueeze(1) * frequencies;
        double factor = config.Rope.Yarn?.AttentionFactor ?? 1;
        return ((angles.cos() * factor).to(type), (angles.sin() * factor).to(type));
    }

    /// <summary>Turns the pairs (i, i + width/2) of every row.</summary>
    /// <param name="heads"><c>[sequences, heads, length, width]</c></param>
    /// <param name="cosines"><c>[length, width/2]</c></param>
    /// <param name="sines"><c>[length, width/2]</c></param>
    public static Tensor Apply(Tensor heads, Tensor cosines, Tensor sines)
    {
        Tensor[] halves = heads.chunk(2, -1);
        return cat([halves[0] * cosines - halves[1] * sines, halves[1] * cosines + halves[0] * sines], -1);
    }
}
