using TorchSharp;
using XDeepServe.Kernels;
using XDeepServe.Models;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;
using Tensor = TorchSharp.torch.Tensor;

namespace XDeepServe.Training.Network;

/// <summary>
/// LLaVA-1.5's eye in TorchSharp: CLIP's vision transformer up to the layer whose states the text model sees, without the class row, then
/// the projector of two matrices. The same network that the engine serves, with gradients.
/// </summary>
/// <param name="shape">Its shape.</param>
/// <param name="weights">Its weights; stay the caller's.</param>
public sealed class VisionTower(ImageConfig shape, TrainedWeights weights)
{
    /// <summary>What the names of the transformer's weights begin with.</summary>
    public const string Tower = "vision_tower.";

    /// <summary>What the names of the projector's weights begin with.</summary>
    public const string Projector = "multi_modal_projector.";

    /// <summary>Names and shapes of the weights.</summary>
    /// <param name="shape">Of the images.</param>
    /// <param name="columns">Columns of the text model.</param>
    public static IEnumerable<(string Name, long[] Shape)> Names(ImageConfig shape, long columns)
    {
        long hidden = shape.HiddenSize, inner = shape.FeedForwardSize;
        yield return (Tower + "embeddings.class_embedding", [hidden]);
        yield return (Tower + "embeddings.patch_embedding.weight", [hidden, ImageConfig.Channels, shape.PatchSize, shape.PatchSize]);
        yield return (Tower + "embeddings.position_embedding.weight", [shape.Patches + 1, hidden]);
        yield return (Tower + "pre_layrnorm.weight", [hidden]);
        yield return (Tower + "pre_layrnorm.bias", [hidden]);
        for (int layer = 0; layer < shape.Layers; layer++)
            foreach ((string name, long rows, long width) in ((string, long, long)[])
            [
                ("layer_norm1", hidden, 0), ("self_attn.q_proj", hidden, hidden), ("self_attn.k_proj", hidden, hidden), ("self_attn.v_proj", hidden, hidden),
                ("self_attn.out_proj", hidden, hidden), ("layer_norm2", hidden, 0), ("mlp.fc1", inner, hidden), ("mlp.fc2", hidden, inner),
            ])
            {
                yield return ($"{Tower}encoder.layers.{layer}.{name}.weight", width == 0 ? [rows] : [rows, width]);
                yield return ($"{Tower}encoder.layers.{layer}.{name}.bias", [rows]);
            }
        foreach ((string name, long width) in ((string, long)[])[("linear_1", hidden), ("linear_2", columns)])
        {
            yield return ($"{Projector}{name}.weight", [columns, width]);
            if (shape.ProjectorBias)
                yield return ($"{Projector}{name}.bias", [columns]);
        }
    }

    /// <summary>Rows that stand for images in the text model.</summary>
    /// <param name="pixels">Normalised, <c>[images, 3, size, size]</c>.</param>
    /// <returns><c>[images, rows, columns]</c></returns>
    public Tensor Project(Tensor pixels)
    {
        long images = pixels.shape[0];
        Tensor patches = conv2d(pixels.to(weights.Type), weights[Tower + "embeddings.patch_embedding.weight"], strides: [shape.PatchSize, shape.PatchSize]).flatten(2).transpose(1, 2);
        Tensor head = weights[Tower + "embeddings.class_embedding"].view(1, 1, -1).expand(images, 1, -1);
        Tensor stream = Norm(cat([head, patches], 1) + weights[Tower + "embeddings.position_embedding.weight"], Tower + "pre_layrnorm");
        for (int layer = 0; layer < shape.Layers; layer++)
            stream = Layer(stream, $"{Tower}encoder.layers.{layer}.");
        if (!shape.KeepsClass)
            stream = stream.narrow(1, 1, shape.Patches);
        return Linear(Activate(Linear(stream, Projector + "linear_1"), shape.ProjectorActivation), Projector + "linear_2");
    }

    private Tensor Layer(Tensor stream, string name)
    {
        Tensor inner = Norm(stream, name + "layer_norm1");
        Tensor attended = scaled_dot_product_attention(Heads(inner, "q_proj"), Heads(inner, "k_proj"), Heads(inner, "v_proj"));
        stream += Linear(attended.transpose(1, 2).reshape(stream.shape), name + "self_attn.out_proj");
        inner = Norm(stream, name + "layer_norm2");
        return stream + Linear(Activate(Linear(inner, name + "mlp.fc1"), shape.Activation), name + "mlp.fc2");

        Tensor Heads(Tensor from, string projection) =>
            Linear(from, $"{name}self_attn.{projection}").view(from.shape[0], from.shape[1], shape.Heads, shape.HiddenSize / shape.Heads).transpose(1, 2);
    }

    private Tensor Norm(Tensor input, string name) => layer_norm(input, [shape.HiddenSize], weights[name + ".weight"], weights[name + ".bias"], shape.Epsilon);

    private Tensor Linear(Tensor input, string name) => linear(input, weights[name + ".weight"], weights.TryGet(name + ".bias")!);

    private static Tensor Activate(Tensor input, GeluForm form) => form switch
    {
        GeluForm.Quick => input * (input * 1.702).sigmoid(),
        GeluForm.Tanh => input * 0.5 * (((input + input.pow(3) * 0.044715) * Math.Sqrt(2 / Math.PI)).tanh() + 1),
        _ => gelu(input),
    };
}

/// <summary>Images of a batch.</summary>
/// <param name="Pixels">Each once, normalised: <c>[images, 3, size, size]</c>.</param>
/// <param name="Order">Which of them each place in the sequences shows, row by row: int64 <c>[places]</c>.</param>
public sealed record Pictures(Tensor Pixels, Tensor Order);
