using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using TorchSharp.Modules;

namespace XDeepServe.Training.Running;

/// <summary>A line of the log.</summary>
/// <param name="Step">Steps done.</param>
/// <param name="Epoch">Passes done; 0 where only an evaluation is told.</param>
public sealed record LogEntry(int Step, double Epoch)
{
    /// <summary>Mean loss since the line before.</summary>
    public double? Loss { get; init; }

    /// <summary>Share of comparisons that came out right since then.</summary>
    public double? Accuracy { get; init; }

    /// <summary>Length of the last step's gradient before clipping.</summary>
    public double? GradientNorm { get; init; }

    /// <summary>The last step's rate.</summary>
    public double? LearningRate { get; init; }

    /// <summary>Tokens since the line before.</summary>
    public long? Tokens { get; init; }

    /// <summary>Mean loss on the evaluation data.</summary>
    public double? EvalLoss { get; init; }

    /// <summary>Share of its comparisons that came out right.</summary>
    public double? EvalAccuracy { get; init; }
}

/// <summary>
/// A run's log: <c>log.jsonl</c> and <c>log.csv</c> in its folder, TensorBoard's event files where they are asked for, and whoever watches. A run that
/// goes on from a checkpoint drops the lines behind it first.
/// </summary>
public sealed class TrainingLog
{
    private static readonly JsonSerializerOptions Form = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull };
    private readonly List<LogEntry> entries = [];
    private readonly string folder;
    private readonly IWatcher? watcher;
    private readonly SummaryWriter? board;

    /// <summary>Opens a run's log.</summary>
    /// <param name="folder">The run's; made if it is not there.</param>
    /// <param name="watcher">Told of what happens; null for nobody.</param>
    /// <param name="board">Whether to write TensorBoard's event files, in runs/.</param>
    public TrainingLog(string folder, IWatcher? watcher = null, bool board = false)
    {
        this.folder = folder;
        this.watcher = watcher;
        Directory.CreateDirectory(folder);
        if (board)
            this.board = TorchSharp.torch.utils.tensorboard.SummaryWriter(Path.Combine(folder, "runs"), createRunName: false);
    }

    /// <summary>The lines.</summary>
    public IReadOnlyList<LogEntry> Entries => entries;

    private string Lines => Path.Combine(folder, "log.jsonl");

    /// <summary>Begins, or goes on behind a step.</summary>
    /// <exception cref="TrainingException">It cannot be written.</exception>
    public void Start(int step, int steps)
    {
        entries.Clear();
        if (step > 0 && File.Exists(Lines))
            entries.AddRange(File.ReadLines(Lines).Select(Read).OfType<LogEntry>().Where(entry => entry.Step <= step));
        Writing(() =>
        {
            File.WriteAllLines(Lines, entries.Select(entry => JsonSerializer.Serialize(entry, Form)));
            File.WriteAllLines(Path.Combine(folder, "log.csv"), [string.Join(',', Columns.Keys), .. entries.Select(Row)]);
        });
        watcher?.Started(step, steps);
    }

    /// <summary>A step is done.</summary>
    public void Stepped(int step, long tokens, TimeSpan took) => watcher?.Stepped(step, tokens, took);

    /// <summary>Adds a line.</summary>
    /// <exception cref="TrainingException">It cannot be written.</exception>
    public void Write(LogEntry entry)
    {
        entries.Add(entry);
        Writing(() =>
        {
            File.AppendAllLines(Lines, [JsonSerializer.Serialize(entry, Form)]);
            File.AppendAllLines(Path.Combine(folder, "log.csv"), [Row(entry)]);
        });
        if (board is not null)
            foreach ((string name, Func<LogEntry, double?> value) in Columns.Skip(2))
                if (value(entry) is { } number)
                    board.add_scalar(name.StartsWith("eval", StringComparison.Ordinal) ? $"eval/{name[5..]}" : $"train/{name}", (float)number, entry.Step);
        watcher?.Logged(entry);
    }

    private static readonly Dictionary<string, Func<LogEntry, double?>> Columns = new()
    {
        ["step"] = entry => entry.Step,
        ["epoch"] = entry => entry.Epoch,
        ["loss"] = entry => entry.Loss,
        ["accuracy"] = entry => entry.Accuracy,
        ["gradient_norm"] = entry => entry.GradientNorm,
        ["learning_rate"] = entry => entry.LearningRate,
        ["tokens"] = entry => entry.Tokens,
        ["eval_loss"] = entry => entry.EvalLoss,
        ["eval_accuracy"] = entry => entry.EvalAccuracy,
    };

    // A killed run or a full disk leaves part of a line, which belongs to a step behind the checkpoint.
    private static LogEntry? Read(string line)
    {
        try
        {
            return JsonSerializer.Deserialize<LogEntry>(line, Form);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private void Writing(Action write)
    {
        try
        {
            write();
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new TrainingException($"The log in {folder} cannot be written: {failure.Message} Checkpoints are as they were; make room and go on with --resume_from_checkpoint true.");
        }
    }

    private static string Row(LogEntry entry) => string.Join(',', Columns.Values.Select(column => column(entry)?.ToString("G9", CultureInfo.InvariantCulture) ?? ""));
}

/// <summary>Watches a run.</summary>
public interface IWatcher
{
    /// <summary>It begins.</summary>
    void Started(int step, int steps);

    /// <summary>A step is done.</summary>
    void Stepped(int step, long tokens, TimeSpan took);

    /// <summary>A line was logged.</summary>
    void Logged(LogEntry entry);
}
