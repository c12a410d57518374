using System.Globalization;
using TorchSharp;
using XDeepServe.Models;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace XDeepServe.Training.Network;

/// <summary>
/// A dense decoder (Llama, Qwen2, Qwen3, Mistral; LLaVA over one of them) in TorchSharp: the same network that the engine serves, with gradients.
/// Sequences of a batch are padded on the right, where a causal network does not look.
/// </summary>
/// <param name="config">Its shape.</param>
/// <param name="weights">Its weights; stay the caller's.</param>
/// <param name="adapters">Low-rank adapters among the weights; null for none.</param>
public sealed class Decoder(ModelConfig config, TrainedWeights weights, LoraSettings? adapters = null)
{
    private static readonly string[] Served = ["llama", "qwen2", "qwen3", "mistral"];

    // TorchSharp has no root mean square norm; libtorch's own is one pass where separate operations are eight, each over singles. Epsilon stands in
    // the text: TorchSharp lets go of a number handed to a script before the script has read it, if garbage is collected in that moment.
    private readonly jit.CompilationUnit fused = jit.compile(string.Create(CultureInfo.InvariantCulture, $"""
        def norm(rows, weight):
            return torch.rms_norm(rows, [weight.size(0)], weight, {config.Epsilon:E9})

        """));

    private readonly VisionTower? eye = config.Images is { } shape ? new VisionTower(shape, weights) : null;

    /// <summary>The shape.</summary>
    public ModelConfig Config => config;

    /// <summary>Low-rank adapters among the weights; null for none.</summary>
    public LoraSettings? Adapters => adapters;

    /// <summary>The weights.</summary>
    public TrainedWeights Weights => weights;

    /// <summary>Whether a backward pass computes every layer again instead of keeping what is inside it (gradient checkpointing).</summary>
    public bool Recomputes { get; init; }

    /// <summary>Notes what passes through adapters; null for nothing. Layers that are computed again are noted again.</summary>
    public AdapterTrace? Trace { get; set; }

    /// <summary>Refuses what this network cannot be.</summary>
    /// <exception cref="TrainingException">It is of another kind.</exception>
    public static void Check(ModelConfig config)
    {
        string family = config.Images?.TextFamily ?? config.Family;
        if (!Served.Contains(family) || config.Experts is not null)
            throw new TrainingException($"Models of the family '{family}' cannot be trained; {string.Join(", ", Served)} can, and LLaVA over one of them.");
    }

    /// <summary>Hidden states behind the final norm.</summary>
    /// <param name="ids">Token ids, int64 <c>[sequences, length]</c>.</param>
    /// <param name="pictures">What the image tokens among them show; null for none.</param>
    /// <returns><c>[sequences, length, hidden]</c>, in the weights' type.</returns>
    public Tensor Hidden(Tensor ids, Pictures? pictures = null)
    {
        (Tensor, Tensor) turns = Turns(ids);
        return Finish(Enumerable.Range(0, config.Layers).Aggregate(Embed(ids, pictures), (hidden, layer) => Layer(hidden, layer, turns)));
    }

    /// <summary>Runs forward and backward; gradients are added to the weights'.</summary>
    /// <param name="ids">Token ids, int64 <c>[sequences, length]</c>.</param>
    /// <param name="loss">A scalar of the hidden states behind the final norm.</param>
    /// <param name="pictures">What the image tokens among them show; null for none.</param>
    /// <returns>The loss, without gradient.</returns>
    public Tensor Backward(Tensor ids, Func<Tensor, Tensor> loss, Pictures? pictures = null)
    {
        if (!Recomputes)
        {
            Tensor value = loss(Hidden(ids, pictures));
            value.backward();
            return value.detach();
        }
        (Tensor, Tensor) turns = Turns(ids);
        List<Tensor> inputs = []; // of each layer, then of the final norm
        using (no_grad())
        {
            inputs.Add(Embed(ids, pictures));
            for (int layer = 0; layer < config.Layers; layer++)
                inputs.Add(Layer(inputs[layer], layer, turns));
        }
        Tensor last = inputs[^1].detach().requires_grad_(true);
        Tensor result = loss(Finish(last));
        result.backward();
        Tensor gradient = last.grad!;
        for (int layer = config.Layers - 1; layer >= 0; layer--)
        {
            Tensor input = inputs[layer].detach().requires_grad_(true);
            Layer(input, layer, turns).backward([gradient]);
            gradient = input.grad!;
        }
        Tensor embedded = Embed(ids, pictures);
        if (embedded.requires_grad)
            embedded.backward([gradient]);
        return result.detach();
    }

    /// <summary>Logits of the whole vocabulary.</summary>
    /// <param name="hidden"><c>[…, hidden]</c></param>
    /// <returns><c>[…, vocabulary]</c></returns>
    public Tensor Logits(Tensor hidden) => linear(hidden, weights.TryGet("lm_head.weight") ?? weights["model.embed_tokens.weight"]);

    private Tensor Embed(Tensor ids, Pictures? pictures)
    {
        Tensor embedded = weights["model.embed_tokens.weight"].index_select(0, ids.flatten()).view(ids.shape[0], ids.shape[1], config.HiddenSize);
        if (pictures is null)
            return embedded;
        if (eye is null)
            throw new TrainingException("The data shows images, but the model takes text only.");
        // Rows of images lie in the order in which their tokens are met.
        return embedded.masked_scatter((ids == config.Images!.TokenId).unsqueeze(-1), eye.Project(pictures.Pixels).index_select(0, pictures.Order));
    }

    // The same for all layers.
    private (Tensor Cosines, Tensor Sines) Turns(Tensor ids) => Rotation.Table(config, ids.shape[1], weights.Type, ids.device);

    private Tensor Finish(Tensor hidden) => Norm(hidden, "model.norm.weight");

    private Tensor Layer(Tensor hidden, int layer, (Tensor Cosines, Tensor Sines) turns)
    {
        // What the backward pass needs is held by autograd; everything else goes here, not when the batch ends, unless a trace wants it.
        using DisposeScope? scope = Trace is null ? NewDisposeScope() : null;
        string name = $"model.layers.{layer}.";
        Tensor residual = hidden + Attention(Norm(hidden, name + "input_layernorm.weight"), name + "self_attn.", layer, turns);
        Tensor inner = Norm(residual, name + "post_attention_layernorm.weight");
        Tensor widened = silu(Linear(inner, name + "mlp.gate_proj")) * Linear(inner, name + "mlp.up_proj");
        Tensor result = residual + Linear(widened, name + "mlp.down_proj");
        return scope is null ? result : result.MoveToOuterDisposeScope();
    }

    private Tensor Attention(Tensor hidden, string name, int layer, (Tensor Cosines, Tensor Sines) turns)
    {
        long sequences = hidden.shape[0], length = hidden.shape[1];
        if (config.Windows.Count > layer && config.Windows[layer] > 0 && config.Windows[layer] < length)
            throw new TrainingException($"Sequences of {length} tokens are longer than the sliding window of {config.Windows[layer]}; set max_length to that.");
        Tensor queries = Heads(hidden, name + "q_proj", name + "q_norm.weight", config.Heads);
        Tensor keys = Heads(hidden, name + "k_proj", name + "k_norm.weight", config.KeyValueHeads);
        Tensor values = Linear(hidden, name + "v_proj").view(sequences, length, config.KeyValueHeads, config.HeadWidth).transpose(1, 2);
        Tensor attended = scaled_dot_product_attention(
            Rotation.Apply(queries, turns.Cosines, turns.Sines), Shared(Rotation.Apply(keys, turns.Cosines, turns.Sines)), Shared(values), is_casual: true);
        return Linear(attended.transpose(1, 2).reshape(sequences, length, config.Heads * config.HeadWidth), name + "o_proj");

        // Queries of a group share keys and values.
        Tensor Shared(Tensor heads) => config.Heads == config.KeyValueHeads ? heads : heads.repeat_interleave(config.Heads / config.KeyValueHeads, 1);
    }

    /// <summary>One head's rows together: <c>[sequences, heads, length, width]</c>.</summary>
    private Tensor Heads(Tensor hidden, string projection, string norm, int heads)
    {
        Tensor projected = Linear(hidden, projection).view(hidden.shape[0], hidden.shape[1], heads, config.HeadWidth);
        return (config.HeadNorms ? Norm(projected, norm) : projected).transpose(1, 2);
    }

    private Tensor Linear(Tensor input, string name)
    {
        Tensor output = linear(input, weights[name + ".weight"], weights.TryGet(name + ".bias")!);
        if (adapters is null || weights.TryGet(name + LoraSettings.Down) is not { } down)
            return output;
        Tensor inner = linear(input, down);
        Tensor adapted = output + linear(inner, weights[name + LoraSettings.Up]) * adapters.Scale;
        Trace?.Add(new AdapterPass(name, input, inner, adapted));
        return adapted;
    }

    private Tensor Norm(Tensor input, string name) => (Tensor)fused.invoke("norm", input, weights[name]);
}
