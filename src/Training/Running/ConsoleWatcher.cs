using System.Diagnostics;
using System.Globalization;

namespace XDeepServe.Training.Running;

/// <summary>Tells a person how a run goes: a line that is written over on a terminal, a line for each logged one elsewhere.</summary>
/// <param name="output">The terminal.</param>
/// <param name="plain">Whether it is a file or a pipe.</param>
public sealed class ConsoleWatcher(TextWriter output, bool plain) : IWatcher, IDisposable
{
    private const int BarWidth = 30;
    private readonly Stopwatch clock = Stopwatch.StartNew();
    private int first, total, step;
    private long tokens;
    private LogEntry? last;
    private bool open; // whether a line without its end stands there

    /// <summary>Says something in a line of its own.</summary>
    public void Say(string text)
    {
        Dispose();
        output.WriteLine(text);
    }

    /// <inheritdoc/>
    public void Started(int step, int steps)
    {
        (first, this.step, total) = (step, step, steps);
        clock.Restart();
        if (step > 0)
            Say($"Goes on behind step {step} of {steps}");
    }

    /// <inheritdoc/>
    public void Stepped(int step, long tokens, TimeSpan took)
    {
        this.step = step;
        this.tokens += tokens;
        if (plain)
            return;
        output.Write($"\r{new string('█', BarWidth * step / total).PadRight(BarWidth, '░')} {Line()}   ");
        open = true;
    }

    /// <inheritdoc/>
    public void Logged(LogEntry entry)
    {
        if (entry.EvalLoss is { } loss)
            Say(string.Create(CultureInfo.InvariantCulture, $"step {entry.Step}: evaluation loss {loss:F4}{(entry.EvalAccuracy is { } right ? $", accuracy {right:P1}" : "")}"));
        else
            last = entry;
        if (plain && entry.EvalLoss is null)
            output.WriteLine(Line());
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (open)
            output.WriteLine();
        open = false;
    }

    /// <summary>Hours, minutes and seconds; a run may have more than a day left.</summary>
    internal static string Clock(TimeSpan time) => string.Create(CultureInfo.InvariantCulture, $"{(long)time.TotalHours:00}:{time:mm\\:ss}");

    private string Line()
    {
        double seconds = clock.Elapsed.TotalSeconds;
        TimeSpan left = TimeSpan.FromSeconds(step == first ? 0 : seconds / (step - first) * (total - step));
        return string.Create(CultureInfo.InvariantCulture,
            $"step {step}/{total}{(last is { } entry ? $", loss {entry.Loss:F4}{(entry.Accuracy is { } right ? $", accuracy {right:P1}" : "")}" : "")}, {tokens / Math.Max(seconds, 1e-3):N0} tokens/s, {Clock(left)} left");
    }
}
