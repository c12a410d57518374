using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using TorchSharp;
using XDeepServe.Kernels;
using XDeepServe.Models.Loading;
using XDeepServe.Training.Network;
using XDeepServe.Training.Optimizing;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace XDeepServe.Training.Running;

/// <summary>
/// A run's checkpoints, <c>checkpoint-STEP</c> in its folder: the model as the engine serves it and all that it takes to go on as if nothing had
/// happened. A checkpoint appears under its name when it is complete.
/// </summary>
/// <param name="folder">The run's.</param>
/// <param name="limit">How many are kept.</param>
public sealed class Checkpoints(string folder, int limit)
{
    private const string StateName = "trainer_state.json", OptimizerName = "optimizer.safetensors", Prefix = "checkpoint-", Partial = ".part";

    /// <summary>Makes a file for writing; tests put a full disk here.</summary>
    internal Func<string, Stream> Create { get; init; } = path => new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 20);

    /// <summary>Steps that have a checkpoint, in order.</summary>
    public IReadOnlyList<int> Steps => !Directory.Exists(folder) ? [] :
        [.. Directory.EnumerateDirectories(folder, Prefix + "*").Select(path => int.TryParse(Path.GetFileName(path)[Prefix.Length..], NumberStyles.None, CultureInfo.InvariantCulture, out int step) ? step : -1)
            .Where(step => step >= 0).Order()];

    /// <summary>The folder of a checkpoint.</summary>
    public string Of(int step) => Path.Combine(folder, $"{Prefix}{step}");

    /// <summary>Writes a checkpoint and removes those that are too many.</summary>
    /// <param name="state">The run's state.</param>
    /// <param name="optimizer">Its moments.</param>
    /// <param name="weights">The masters.</param>
    /// <param name="model">Writes the model into a folder.</param>
    /// <exception cref="TrainingException">It cannot be written; those before are as they were.</exception>
    public void Save(TrainerState state, AdamW optimizer, TrainedWeights weights, Action<string, Func<string, Stream>> model)
    {
        Write(Of(state.Step), partial =>
        {
            model(partial, Create);
            SafetensorsWriter writer = new();
            foreach ((string name, Tensor tensor) in Tensors(optimizer, weights))
                writer.Add(name, [tensor.numel()], ElementType.F32, stream => stream.Write(tensor.cpu().bytes));
            using (Stream stream = Create(Path.Combine(partial, OptimizerName)))
                writer.Write(stream, progress: null);
            File.WriteAllText(Path.Combine(partial, StateName), JsonSerializer.Serialize(state));
        });
        foreach (int step in Steps.Where(step => step != state.Best).SkipLast(limit))
            Directory.Delete(Of(step), recursive: true);
    }

    /// <summary>Writes a folder that appears under its name when it is complete, in place of one that is there.</summary>
    /// <exception cref="TrainingException">It cannot be written.</exception>
    public void Write(string target, Action<string> write)
    {
        string partial = target + Partial;
        try
        {
            if (Directory.Exists(partial))
                Directory.Delete(partial, recursive: true);
            Directory.CreateDirectory(partial);
            write(partial);
            if (Directory.Exists(target))
                Directory.Delete(target, recursive: true);
            Directory.Move(partial, target);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            if (Directory.Exists(partial))
                Directory.Delete(partial, recursive: true);
            string last = Steps is [.., var step] ? $"The last complete checkpoint is {Of(step)}; make room and go on with --resume_from_checkpoint." : "There is no complete checkpoint yet.";
            throw new TrainingException($"{target} cannot be written: {failure.Message} {last}");
        }
    }

    /// <summary>Puts masters and moments back as they were.</summary>
    /// <returns>The run's state then.</returns>
    /// <exception cref="TrainingException">The checkpoint is damaged, or not one of this model and these settings.</exception>
    public TrainerState Restore(int step, AdamW optimizer, TrainedWeights weights)
    {
        try
        {
            return Read(step, optimizer, weights);
        }
        catch (Exception damage) when (damage is IOException or ModelLoadException or JsonException)
        {
            throw new TrainingException($"{Of(step)} cannot be read: {damage.Message} Remove that folder to go on from the checkpoint before it.");
        }
    }

    private TrainerState Read(int step, AdamW optimizer, TrainedWeights weights)
    {
        TrainerState state = JsonSerializer.Deserialize<TrainerState>(File.ReadAllText(Path.Combine(Of(step), StateName))) ?? throw new JsonException($"{StateName} is empty.");
        using SafetensorsFile file = new(Path.Combine(Of(step), OptimizerName));
        using (DisposeScope scope = NewDisposeScope())
        using (no_grad())
        {
            foreach ((string name, Tensor tensor) in Tensors(optimizer, weights))
            {
                StoredTensor? stored = file.Tensors.FirstOrDefault(one => one.Name == name);
                if (stored?.Elements != tensor.numel())
                    throw new TrainingException($"{Of(step)} trains {stored?.Elements ?? 0} values, these settings {tensor.numel()}: go on with the settings it was made with, or name another output_dir.");
                Tensor values = empty(tensor.numel(), dtype: ScalarType.Float32);
                stored.Read(0, MemoryMarshal.Cast<byte, float>(values.bytes));
                tensor.copy_(values);
            }
        }
        weights.Refresh();
        optimizer.Steps = state.OptimizerSteps;
        return state;
    }

    private static (string Name, Tensor Tensor)[] Tensors(AdamW optimizer, TrainedWeights weights) =>
        [("masters", weights.Masters), ("first", optimizer.First), ("second", optimizer.Second)];
}
