using TorchSharp;
using XDeepServe.Training.Network;
using XDeepServe.Training.Optimizing;
using XDeepServe.Training.Running;
using static TorchSharp.torch;

namespace XDeepServe.Training.Tests;

public sealed class CheckpointTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("xds-checkpoints-").FullName;
    private readonly TrainedWeights weights = new(new Dictionary<string, Tensor> { ["w"] = ones(20, 30) }, _ => true, ScalarType.Float32, CPU);
    private readonly AdamW optimizer;

    public CheckpointTests() => optimizer = new AdamW(weights, new TrainingSettings());

    public void Dispose()
    {
        optimizer.Dispose();
        weights.Dispose();
        Directory.Delete(folder, recursive: true);
    }

    [Theory]
    [InlineData(0)] // nothing of the model fits
    [InlineData(3000)] // the model does, the optimiser's moments do not
    public void A_full_disk_leaves_the_last_checkpoint_as_it_is(long room)
    {
        Checkpoints good = new(folder, 2);
        good.Save(new TrainerState { Step = 5 }, optimizer, weights, Write);
        byte[] before = File.ReadAllBytes(Path.Combine(good.Of(5), "optimizer.safetensors"));
        using (no_grad())
            weights.Masters.add_(1);
        long left = room;
        Checkpoints full = new(folder, 2) { Create = path => new SmallDisk(path, bytes => (left -= bytes) >= 0) };
        TrainingException failure = Assert.Throws<TrainingException>(() => full.Save(new TrainerState { Step = 6 }, optimizer, weights, Write));
        Assert.Contains("No space left", failure.Message, StringComparison.Ordinal);
        Assert.Contains("checkpoint-5", failure.Message, StringComparison.Ordinal);
        Assert.Equal(["checkpoint-5"], Directory.EnumerateFileSystemEntries(folder).Select(Path.GetFileName));
        Assert.Equal(before, File.ReadAllBytes(Path.Combine(good.Of(5), "optimizer.safetensors")));
        Assert.Equal(5, good.Restore(5, optimizer, weights).Step);
        Assert.All(weights.Masters.data<float>(), value => Assert.Equal(1, value));
    }

    [Fact]
    public void The_best_and_the_last_are_kept()
    {
        Checkpoints checkpoints = new(folder, 2);
        for (int step = 1; step <= 6; step++)
            checkpoints.Save(new TrainerState { Step = step, Best = 2 }, optimizer, weights, Write);
        Assert.Equal([2, 5, 6], checkpoints.Steps);
    }

    [Fact]
    public void A_checkpoint_of_another_model_is_refused()
    {
        Checkpoints checkpoints = new(folder, 2);
        checkpoints.Save(new TrainerState { Step = 1 }, optimizer, weights, Write);
        using TrainedWeights other = new(new Dictionary<string, Tensor> { ["w"] = ones(20, 31) }, _ => true, ScalarType.Float32, CPU);
        using AdamW moments = new(other, new TrainingSettings());
        Assert.Contains("trains 600 values, these settings 620", Assert.Throws<TrainingException>(() => checkpoints.Restore(1, moments, other)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("trainer_state.json", "{")]
    [InlineData("trainer_state.json", "null")]
    [InlineData("optimizer.safetensors", "short")]
    [InlineData("optimizer.safetensors", null)]
    public void A_damaged_checkpoint_is_named_with_what_to_do(string name, string? content)
    {
        Checkpoints checkpoints = new(folder, 2);
        checkpoints.Save(new TrainerState { Step = 1 }, optimizer, weights, Write);
        string path = Path.Combine(checkpoints.Of(1), name);
        File.Delete(path);
        if (content is not null)
            File.WriteAllText(path, content);
        string said = Assert.Throws<TrainingException>(() => checkpoints.Restore(1, optimizer, weights)).Message;
        Assert.StartsWith($"{checkpoints.Of(1)} cannot be read: ", said, StringComparison.Ordinal);
        Assert.Contains("Remove that folder", said, StringComparison.Ordinal);
    }

    private static void Write(string target, Func<string, Stream> create)
    {
        using Stream stream = create(Path.Combine(target, "model.safetensors"));
        stream.Write(new byte[2000]);
    }

    private sealed class SmallDisk(string path, Func<int, bool> takes) : FileStream(path, FileMode.CreateNew)
    {
        public override void Write(ReadOnlySpan<byte> buffer)
        {
            if (!takes(buffer.Length))
                throw new IOException("No space left on device");
            base.Write(buffer);
        }
    }
}
