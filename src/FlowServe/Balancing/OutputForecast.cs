using System.Numerics;

namespace XDeepServe.FlowServe.Balancing;

/// <summary>
/// Expected length of an output, learned from requests that ended, by the length of the prompt: a running mean for each power of
/// two. Any thread; of two that learn at the same time one may be forgotten.
/// </summary>
public sealed class OutputForecast
{
    private const int Untaught = 256; // tokens, before any request has ended
    private const double Share = 0.05; // of a new observation, once there are enough
    private readonly double[] means = new double[33];  // [bits of the prompt's length; the last for all together]
    private readonly int[] counts = new int[33];

    /// <summary>Tokens that a request will probably generate.</summary>
    /// <param name="prompt">Tokens of the prompt.</param>
    /// <param name="most">Most that it may generate.</param>
    public int Expect(int prompt, int most)
    {
        int bucket = Bucket(prompt);
        int known = Volatile.Read(ref counts[bucket]) > 0 ? bucket : means.Length - 1;
        double mean = Volatile.Read(ref counts[known]) > 0 ? Volatile.Read(ref means[known]) : Untaught;
        return Math.Min(most, (int)Math.Ceiling(mean));
    }

    /// <summary>Learns from a request that came to its own end.</summary>
    /// <param name="prompt">Tokens of the prompt.</param>
    /// <param name="generated">Tokens that it generated.</param>
    public void Observe(int prompt, int generated)
    {
        Learn(generated, Bucket(prompt));
        Learn(generated, means.Length - 1);
    }

    private void Learn(int generated, int bucket)
    {
        int count = Math.Min(Volatile.Read(ref counts[bucket]) + 1, (int)(1 / Share));
        double mean = Volatile.Read(ref means[bucket]);
        Volatile.Write(ref means[bucket], mean + (generated - mean) / count);
        Volatile.Write(ref counts[bucket], count);
    }

    private static int Bucket(int prompt) => BitOperations.Log2((uint)Math.Max(1, prompt));
}
