using System.Diagnostics;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>What a rank tells all others at each beat. All numbers count since it began; times in ticks of <see cref="Stopwatch"/>.</summary>
internal struct RankRecord
{
    /// <summary>The beat ends with a rebalancing; the first rank's word counts.</summary>
    public bool Balance;

    /// <summary>The beat ends with taking this member back, counted from 1, attention before experts; 0 for nobody. The first rank's word counts.</summary>
    public int Admit;

    /// <summary>Steps of a rank with attention, empty ones included.</summary>
    public long Steps;

    /// <summary>Rows of these steps.</summary>
    public long Rows;

    /// <summary>Rounds of exchange of a rank with attention.</summary>
    public long Rounds;

    public long Work, Sending, Waiting, Travelling;

    /// <summary>Processor time that a rank with attention got for its own work; 0 if that is not known.</summary>
    public long Processor;

    /// <summary>Batches of a rank with experts: rounds, if it has attention, too.</summary>
    public long Batches;

    /// <summary>(row, expert) pairs of these batches.</summary>
    public long Pairs;

    public long Arriving, Queueing, Computing, Returning;

    /// <summary>What a batch of one pair, and one of <see cref="ExpertCompute.ManyPairs"/>, took before the rank began.</summary>
    public long OneAlone, ManyAlone;

    /// <summary>Bytes of experts that were loaded while serving.</summary>
    public long LoadedBytes;

    /// <summary>Longest time for which a change of experts has kept the rank from its work.</summary>
    public long LongestStall;

    /// <summary>Takes over what a rank with attention has measured.</summary>
    public void Take(ExpertExchange exchange)
    {
        AttentionTimes times = exchange.Times;
        (Steps, Rows, Rounds) = (exchange.Steps, exchange.RoutedRows, times.Rounds);
        Processor = Ticks(times.Computing);
        (Work, Sending, Waiting, Travelling) = (Ticks(times.Work), Ticks(times.Sending), Ticks(times.Waiting), Ticks(times.Travelling));
    }

    /// <summary>Takes over what a rank with experts has measured.</summary>
    public void Take(ExpertTimes times)
    {
        (Batches, Pairs) = (times.Batches, times.Pairs);
        (OneAlone, ManyAlone) = (Ticks(times.Alone.One), Ticks(times.Alone.Many));
        (Arriving, Queueing, Computing, Returning) = (Ticks(times.Travelling), Ticks(times.Queueing), Ticks(times.Computing), Ticks(times.Returning));
    }

    /// <summary>Its stages by name, in seconds; as the paper has them: attention, A2E, MoE, E2A. A rank that has both computes its experts while it waits.</summary>
    public readonly IReadOnlyList<(string Stage, double Seconds)> Stages(bool attention, bool experts) => !attention
        ? [("a2e", Seconds(Arriving)), ("queue", Seconds(Queueing)), ("moe", Seconds(Computing)), ("e2a", Seconds(Returning))]
        : [("attention", Seconds(Work)), ("send", Seconds(Sending)), ("wait", Seconds(Waiting)), .. experts ? [("moe", Seconds(Computing))] : Array.Empty<(string, double)>(), ("round_trip", Seconds(Travelling))];

    public static double Seconds(long ticks) => (double)ticks / Stopwatch.Frequency;

    private static long Ticks(TimeSpan time) => (long)(time.TotalSeconds * Stopwatch.Frequency);
}
