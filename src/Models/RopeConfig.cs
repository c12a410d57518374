using XDeepServe.Models.Loading;

namespace XDeepServe.Models;

/// <summary>Rotary position embedding.</summary>
/// <param name="Theta">Base of the wave lengths.</param>
/// <param name="Yarn">Stretching to longer contexts by YaRN; null for none.</param>
/// <param name="Llama3">Stretching as Llama 3.1 does it; null for none.</param>
/// <param name="Stretch">How many times longer every wave is; 1 for none ("linear").</param>
public sealed record RopeConfig(double Theta, YarnConfig? Yarn = null, Llama3Config? Llama3 = null, double Stretch = 1)
{
    /// <summary>Reads <c>rope_parameters</c> (transformers 5) or <c>rope_theta</c> and <c>rope_scaling</c> (before).</summary>
    /// <param name="reader">The model's config.</param>
    /// <param name="theta">Base if the config names none.</param>
    /// <param name="maxPositions">The config's <c>max_position_embeddings</c>.</param>
    /// <exception cref="ModelLoadException">A kind of scaling that is not served, or values out of range.</exception>
    public static RopeConfig Read(ConfigReader reader, double theta, int maxPositions)
    {
        ConfigReader? parameters = reader.Section("rope_parameters") ?? reader.Section("rope_scaling");
        theta = reader.Real("rope_theta", 1, theta);
        if (parameters is null)
            return new RopeConfig(theta);
        theta = parameters.Real("rope_theta", 1, theta);
        string key = parameters.Has("rope_type") ? "rope_type" : "type";
        return parameters.Text(key) switch
        {
            // "dynamic" changes the waves beyond max_position_embeddings alone, and no context is longer than that.
            null or "default" or "dynamic" => new RopeConfig(theta),
            "linear" => new RopeConfig(theta, Stretch: parameters.Real("factor", 1)),
            "llama3" => new RopeConfig(theta, Llama3: Llama3Config.Read(parameters, maxPositions)),
            "yarn" => new RopeConfig(theta, YarnConfig.Read(parameters, maxPositions)),
            _ => throw parameters.Wrong(key, "only 'default', 'linear', 'dynamic', 'llama3' and 'yarn' are supported"),
        };
    }

    /// <summary>The longest context: what the config says, or what YaRN stretches the original to if that is more.</summary>
    public int Reach(int maxPositions, int most) =>
        Yarn is null ? maxPositions : (int)Math.Clamp(Yarn.OriginalPositions * Yarn.Factor, maxPositions, Math.Max(maxPositions, most));
}

/// <summary>Llama 3.1's stretching: waves longer than the original context over <paramref name="Low"/> are stretched by a factor, those shorter than it over <paramref name="High"/> stay, and between them lies a blend.</summary>
/// <param name="Factor">How many times longer.</param>
/// <param name="Low">low_freq_factor.</param>
/// <param name="High">high_freq_factor; greater than <paramref name="Low"/>.</param>
/// <param name="OriginalPositions">Context that the model was trained with.</param>
public sealed record Llama3Config(double Factor, double Low, double High, int OriginalPositions)
{
    internal static Llama3Config Read(ConfigReader reader, int maxPositions)
    {
        double low = reader.Real("low_freq_factor", 0, 1), high = reader.Real("high_freq_factor", 0, 4);
        if (high <= low || low == 0)
            throw reader.Inconsistent("high_freq_factor must be greater than low_freq_factor, and both greater than 0");
        return new Llama3Config(reader.Real("factor", 1), low, high, reader.Integer("original_max_position_embeddings", 1, fallback: maxPositions));
    }
}

/// <summary>YaRN: long waves are stretched by a factor, short ones stay, a ramp lies between.</summary>
/// <param name="Factor">How many times longer than trained.</param>
/// <param name="OriginalPositions">Context that the model was trained with.</param>
/// <param name="BetaFast">Waves that turn more often than this over the original context stay.</param>
/// <param name="BetaSlow">Waves that turn less often than this are stretched in full.</param>
/// <param name="AttentionFactor">Factor on cosines and sines.</param>
/// <param name="ScoreFactor">Factor on attention scores where a family asks for it (DeepSeek: mscale_all_dim, squared).</param>
/// <param name="Truncate">Whether the ends of the ramp are rounded to whole dimensions.</param>
public sealed record YarnConfig(
    double Factor, int OriginalPositions, double BetaFast, double BetaSlow, double AttentionFactor, double ScoreFactor, bool Truncate)
{
    internal static YarnConfig Read(ConfigReader reader, int maxPositions)
    {
        int original = reader.Integer("original_max_position_embeddings", 1, fallback: maxPositions);
        double factor = reader.Real("factor", 1, Math.Max(1, maxPositions / (double)original));
        double mscale = reader.Real("mscale", 0, 0);
        double mscaleAll = reader.Real("mscale_all_dim", 0, 0);
        double attention = mscale > 0 && mscaleAll > 0
            ? Scale(factor, mscale) / Scale(factor, mscaleAll)
            : Scale(factor, 1);
        double score = mscaleAll > 0 ? Scale(factor, mscaleAll) : 1;
        double fast = reader.Real("beta_fast", 0, 32);
        double slow = reader.Real("beta_slow", 0, 1);
        if (fast < slow || slow == 0) // equal, as Kimi K2 has them, leaves a ramp one pair wide
            throw reader.Inconsistent("beta_fast must not be less than beta_slow, and both must be greater than 0");
        return new YarnConfig(
            factor, original, fast, slow, reader.Real("attention_factor", 0, attention), score * score, reader.Flag("truncate", true));
    }

    private static double Scale(double factor, double mscale) => factor <= 1 ? 1 : (0.1 * mscale * Math.Log(factor)) + 1;
}
