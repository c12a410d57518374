namespace XDeepServe.Kernels;

/// <summary>
/// A counter-based random stream: the draw depends on seed and index alone, so that it is the same on every backend and
/// in every batch.
/// </summary>
public static class RandomStream
{
    /// <summary>A number in [0, 1) with 24 bits.</summary>
    /// <param name="seed">Names the stream.</param>
    /// <param name="index">Place in the stream.</param>
    public static float Uniform(ulong seed, uint index)
    {
        // SplitMix64's finisher over a Weyl sequence, twice, so that neighbouring seeds share nothing.
        ulong mixed = Mix(Mix(seed + 0x9E3779B97F4A7C15UL) + (index + 1UL) * 0x9E3779B97F4A7C15UL);
        return (mixed >> 40) * (1f / (1 << 24));
    }

    /// <summary>Four draws of 16 bits: the values 4·<paramref name="group"/> to 4·group + 3 of a random tensor.</summary>
    /// <param name="seed">Names the tensor.</param>
    /// <param name="group">Which four.</param>
    public static ulong Draws(ulong seed, long group) => Mix(seed + (ulong)(group + 1) * 0x9E3779B97F4A7C15UL);

    private static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9UL;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EBUL;
        return value ^ (value >> 31);
    }
}
