using System.CommandLine;
using XDeepServe.FlowServe;

namespace XDeepServe.Cli;

/// <summary>The flags that say how tokens are chosen.</summary>
internal sealed class SamplingFlags
{
    private readonly Option<int?> maxTokens = new("--max-tokens") { Description = "Most tokens to generate." };
    private readonly Option<double> temperature = new("--temperature") { Description = "Divides the logits; 0 always takes the best token." };
    private readonly Option<double> topP = new("--top-p") { Description = "Share of probability to choose from.", DefaultValueFactory = _ => 1 };
    private readonly Option<int> topK = new("--top-k") { Description = "Tokens to choose from; 0 for all." };
    private readonly Option<long?> seed = new("--seed") { Description = "Names the random stream." };
    private readonly Option<string[]> stop = new("--stop") { Description = "Text that ends the answer; may be given several times." };
    private readonly Option<bool> ignoreEos = new("--ignore-eos") { Description = "Go on behind the end of text." };
    private readonly int defaultMax;

    /// <summary>Adds the flags to a command.</summary>
    public SamplingFlags(Command command, int defaultMax, double defaultTemperature)
    {
        this.defaultMax = defaultMax;
        temperature.DefaultValueFactory = _ => defaultTemperature;
        foreach (Option option in new Option[] { maxTokens, temperature, topP, topK, seed, stop, ignoreEos })
            command.Options.Add(option);
    }

    /// <summary>Reads the flags.</summary>
    /// <exception cref="InvalidRequestException">A value is out of its range.</exception>
    public SamplingParameters Read(ParseResult result)
    {
        SamplingParameters sampling = new()
        {
            MaxTokens = result.GetValue(maxTokens) ?? defaultMax,
            Temperature = result.GetValue(temperature),
            TopP = result.GetValue(topP),
            TopK = result.GetValue(topK),
            Seed = result.GetValue(seed),
            Stop = result.GetValue(stop) ?? [],
            IgnoreEos = result.GetValue(ignoreEos),
        };
        sampling.Validate(int.MaxValue, int.MaxValue);
        return sampling;
    }
}
