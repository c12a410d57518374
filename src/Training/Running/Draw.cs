using XDeepServe.Alignment.Data;
using XDeepServe.Kernels;
using XDeepServe.Training.Batching;

namespace XDeepServe.Training.Running;

/// <summary>
/// Draws some of many examples: each gets a random number, and those with the lowest are taken, so that a larger draw with the same seed holds
/// every smaller one. Only what is drawn is held in memory.
/// </summary>
/// <param name="most">How many pairs or texts; 0 for all.</param>
/// <param name="seed">Of the draw.</param>
public sealed class Draw(int most, int seed)
{
    private readonly PriorityQueue<(long Place, List<Example> Together), double> drawn = new();
    private long places;
    private PreferencePair? last;
    private List<Example>? open; // where a further example of the last pair goes; null if that pair was not drawn

    /// <summary>Examples that were offered.</summary>
    public long Offered { get; private set; }

    /// <summary>What is drawn, in the order in which it was offered.</summary>
    public IReadOnlyList<Example> Examples => [.. drawn.UnorderedItems.Select(item => item.Element).OrderBy(item => item.Place).SelectMany(item => item.Together)];

    /// <summary>Offers an example. One that shows the pair of the example before it, in the other order, goes with that.</summary>
    public void Offer(Example example)
    {
        Offered++;
        if (example.Pair is { } pair && ReferenceEquals(pair, last))
        {
            open?.Add(example);
            return;
        }
        last = example.Pair;
        // A number of the place, not of a sequence: stages draw the order of answers from a sequence with the same seed.
        double key = RandomStream.Uniform((ulong)seed, (uint)places);
        open = [example];
        // The queue's head is the highest number drawn.
        if (most == 0 || drawn.Count < most)
            drawn.Enqueue((places, open), -key);
        else if (drawn.EnqueueDequeue((places, open), -key).Together == open)
            open = null;
        places++;
    }
}
