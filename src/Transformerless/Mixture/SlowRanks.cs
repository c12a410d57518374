using System.Globalization;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// Finds ranks that keep others waiting for no good reason: their batches take far longer than those of the other ranks of their
/// kind, without being larger, for two beats. The only rank with experts is compared with what its batches took before it began; the
/// only one with attention, whose steps take as long as their contexts are, with the processor time that its thread got for them: it
/// sleeps, or shares its cores with too many. Knows nothing of time but what it is told.
/// </summary>
/// <param name="names">Names of the ranks.</param>
/// <param name="attention">Ranks with attention: the first of them; the others have experts.</param>
internal sealed class SlowRanks(IReadOnlyList<string> names, int attention)
{
    private const double Factor = 2;         // times what others take
    private const double LeastExcess = 0.002; // seconds of a batch beyond that
    private const double AloneFactor = 3, AloneExcess = 0.005; // the same where nobody has the same work at the same time
    private const double MostRows = 1.5;      // times the rows of others: more rows may take longer
    private const int FewestBatches = 8;      // of a beat: fewer say little
    private const int BeatsToTurn = 2;
    private readonly RankRecord[] last = new RankRecord[names.Count];
    private readonly int[] suspicions = new int[names.Count];
    private readonly bool[] slow = new bool[names.Count];

    /// <summary>Whether a rank is slow.</summary>
    public bool this[int rank] => slow[rank];

    /// <summary>Takes a beat's records.</summary>
    /// <returns>A line for the log for each rank that has become slow, or is no longer.</returns>
    public IReadOnlyList<string> Observe(ReadOnlySpan<RankRecord> records)
    {
        List<string> lines = [];
        (double Seconds, double Rows)?[] means = new (double, double)?[records.Length];
        for (int rank = 0; rank < records.Length; rank++)
        {
            means[rank] = rank < attention
                ? Mean(records[rank].Work - last[rank].Work, records[rank].Rows - last[rank].Rows, records[rank].Steps - last[rank].Steps)
                : Mean(records[rank].Computing - last[rank].Computing, records[rank].Pairs - last[rank].Pairs, records[rank].Batches - last[rank].Batches);
        }
        double[] processor = [.. records.ToArray().Select((record, rank) => RankRecord.Seconds(record.Processor - last[rank].Processor) / Math.Max(1, record.Steps - last[rank].Steps))];
        records.CopyTo(last);
        for (int rank = 0; rank < means.Length; rank++)
        {
            (int first, int end) = rank < attention ? (0, attention) : (attention, means.Length);
            (double Seconds, double Rows)[] others = [.. Enumerable.Range(first, end - first).Where(other => other != rank).Select(other => means[other]).OfType<(double, double)>()];
            bool alone = end - first == 1, attends = rank < attention;
            if (means[rank] is not { } own || (alone ? (attends ? records[rank].Processor : records[rank].OneAlone) == 0 : others.Length == 0))
                continue;
            double usual = !alone ? Median(others.Select(other => other.Seconds)) : attends ? processor[rank] : Expected(records[rank], own.Rows);
            bool suspect = alone && !attends
                ? own.Seconds > (AloneFactor * usual) + AloneExcess
                : own.Seconds > (Factor * usual) + LeastExcess && (alone || own.Rows <= (MostRows * Median(others.Select(other => other.Rows))) + 1);
            suspicions[rank] = suspect == slow[rank] ? 0 : suspicions[rank] + 1;
            if (suspicions[rank] < BeatsToTurn)
                continue;
            (slow[rank], suspicions[rank]) = (suspect, 0);
            string what = attends ? "a step's own work" : "a batch";
            string than = !alone ? "elsewhere" : attends ? "of a processor" : "by itself";
            string now = suspect ? "is slow" : "keeps up again";
            lines.Add(string.Create(CultureInfo.InvariantCulture, $"{names[rank]} {now}: {what} takes {own.Seconds * 1000:0.0} ms there and {usual * 1000:0.0} ms {than}; all ranks that share experts with it wait for it."));
        }
        return lines;
    }

    /// <summary>Seconds of a batch of so many pairs, on the line through the two that were measured; more take no longer than that.</summary>
    private static double Expected(RankRecord rank, double pairs)
    {
        double one = RankRecord.Seconds(rank.OneAlone), many = Math.Max(one, RankRecord.Seconds(rank.ManyAlone));
        return one + ((many - one) * Math.Max(0, pairs - 1) / (ExpertCompute.ManyPairs - 1));
    }

    private static (double, double)? Mean(long ticks, long rows, long batches) =>
        batches < FewestBatches ? null : (RankRecord.Seconds(ticks) / batches, (double)rows / batches);

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}
