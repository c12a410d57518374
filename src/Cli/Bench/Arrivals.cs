namespace XDeepServe.Cli.Bench;

/// <summary>When requests are sent: a steady rate, or one that rises over the run.</summary>
/// <param name="Random">Source of the intervals.</param>
/// <param name="Rate">Requests per second; infinity sends all at once.</param>
/// <param name="Burstiness">Shape of the gamma distribution; 1 is Poisson.</param>
/// <param name="Ramp">How the rate goes from <paramref name="RampStart"/> to <paramref name="RampEnd"/>: linear, exponential, or null for not at all.</param>
/// <param name="RampStart">Requests per second at the start.</param>
/// <param name="RampEnd">Requests per second at the end.</param>
internal sealed record Arrivals(Random Random, double Rate, double Burstiness, string? Ramp, double RampStart, double RampEnd)
{
    /// <summary>Seconds from a request to the next one.</summary>
    /// <param name="progress">Share of the requests that are sent, 0 to 1.</param>
    public double Interval(double progress)
    {
        double rate = Ramp switch
        {
            "linear" => RampStart + (RampEnd - RampStart) * progress,
            "exponential" => RampStart * Math.Pow(RampEnd / RampStart, progress),
            _ => Rate,
        };
        return double.IsFinite(rate) ? Gamma(Burstiness) / (Burstiness * rate) : 0;
    }

    /// <summary>A draw of the gamma distribution of scale 1.</summary>
    private double Gamma(double shape)
    {
        // Marsaglia and Tsang's method; a shape below 1 is raised and corrected by a power of a uniform draw.
        double raised = shape < 1 ? shape + 1 : shape, d = raised - 1.0 / 3, c = 1 / Math.Sqrt(9 * d);
        while (true)
        {
            double normal = Math.Sqrt(-2 * Math.Log(1 - Random.NextDouble())) * Math.Cos(2 * Math.PI * Random.NextDouble());
            double v = Math.Pow(1 + c * normal, 3), uniform = 1 - Random.NextDouble();
            if (v > 0 && Math.Log(uniform) < 0.5 * normal * normal + d - d * v + d * Math.Log(v))
                return d * v * (shape < 1 ? Math.Pow(1 - Random.NextDouble(), 1 / shape) : 1);
        }
    }
}
