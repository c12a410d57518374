using XDeepServe.Kernels.Cpu;
using XDeepServe.Models.Loading;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Calibrating;

/// <summary>What a calibration saw.</summary>
/// <param name="Smoothing">The factors that it found.</param>
/// <param name="Windows">Windows of text that ran.</param>
/// <param name="LeastWindows">The least number of windows in which an expert had an input; null if there are no experts.</param>
public sealed record CalibrationReport(Smoothing Smoothing, int Windows, int? LeastWindows);

/// <summary>
/// Runs text through a model until every expert has had inputs in at least <see cref="LeastSamples"/> windows, as xDeepServe 4.7
/// does (n = 4; 40 to 128 windows as a rule), and finds smoothing factors from what it saw.
/// </summary>
public static class Calibration
{
    /// <summary>Windows in which every expert must have had inputs.</summary>
    public const int LeastSamples = 4;

    private const int Window = 256, FewestWindows = 40, MostWindows = 128;

    /// <summary>Calibrates.</summary>
    /// <param name="checkpoint">The model; weights of all types.</param>
    /// <param name="text">Text like the text that the model will see; 40 to 128 windows of 256 tokens are used.</param>
    /// <param name="progress">Receives fractions from 0 to 1.</param>
    /// <param name="cancellation">Stops the work.</param>
    /// <exception cref="ModelLoadException">The model has no tokenizer, its tensors have names that are not known here, or the text is too short.</exception>
    public static CalibrationReport Run(Checkpoint checkpoint, string text, IProgress<double>? progress = null, CancellationToken cancellation = default)
    {
        Tokenizer tokenizer = checkpoint.LoadTokenizer()
            ?? throw new ModelLoadException("Calibration reads text, but the model brings no tokenizer. Put its tokenizer.json into its folder.");
        InputRanges ranges = new(checkpoint);
        using CpuBackend backend = new(new CpuOptions()) { Observer = ranges };
        using Model model = Model.Load(checkpoint, backend, new ModelOptions());
        int[] ids = [.. tokenizer.Encode(text)];
        int length = Math.Min(Window, model.MaxLength), available = Math.Min(MostWindows, ids.Length / length);
        if (available == 0)
            throw new ModelLoadException($"The text for calibration has {ids.Length} tokens; at least {length} are needed, better {FewestWindows * length}.");
        using WindowRunner runner = new(model, backend, length);
        int done = 0;
        while (done < available && (done < FewestWindows || ranges.LeastWindows < LeastSamples))
        {
            cancellation.ThrowIfCancellationRequested();
            ranges.BeginWindow();
            runner.Run(ids.AsSpan(done++ * length, length));
            progress?.Report((double)done / available);
        }
        Smoothing smoothing = new Smoother(checkpoint, model.Config, ranges).Find();
        return smoothing.Count > 0
            ? new CalibrationReport(smoothing, done, ranges.LeastWindows)
            : throw new ModelLoadException($"Calibration found nothing to smooth in a model of type '{model.Config.Family}'. Convert it without --calibration.");
    }
}
