namespace XDeepServe.Training.Optimizing;

/// <summary>How a learning rate falls behind its warm-up.</summary>
public enum ScheduleKind
{
    /// <summary>Half a wave down to 0.</summary>
    Cosine,

    /// <summary>A line down to 0.</summary>
    Linear,

    /// <summary>Not at all.</summary>
    Constant,
}

/// <summary>A learning rate by step: a line up from 0, then a fall to 0, as Hugging Face's schedulers have it.</summary>
/// <param name="Kind">The fall.</param>
/// <param name="Peak">The highest rate.</param>
/// <param name="Steps">Steps in all.</param>
/// <param name="Warmup">Steps of the rise.</param>
public sealed record Schedule(ScheduleKind Kind, double Peak, int Steps, int Warmup)
{
    /// <summary>The rate of a step.</summary>
    /// <param name="step">From 0.</param>
    public double Rate(int step)
    {
        if (step < Warmup)
            return Peak * step / Math.Max(1, Warmup);
        double passed = (double)(step - Warmup) / Math.Max(1, Steps - Warmup);
        return Kind switch
        {
            ScheduleKind.Cosine => Peak * 0.5 * (1 + Math.Cos(Math.PI * passed)),
            ScheduleKind.Linear => Peak * Math.Max(0, 1 - passed),
            _ => Peak,
        };
    }
}
