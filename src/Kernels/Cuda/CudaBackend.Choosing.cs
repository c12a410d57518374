namespace XDeepServe.Kernels.Cuda;

public sealed unsafe partial class CudaBackend
{
    private const int MostVocabulary = 1 << 24, StepCluster = 8, StepAhead = 1024, RowCluster = 8, MostResident = 80 << 10;
    private readonly Kernel route, countExperts, normAndChoose, rank, sample;
    private DeviceBuffer? adjusted, counts;

    /// <inheritdoc/>
    public override void Route(Tensor ids, Tensor gates, Tensor logits, Tensor bias, RoutingRule rule)
    {
        if (rule.GroupTerms is not (1 or 2))
            throw new CudaException($"Expert groups scored by their {rule.GroupTerms} best are not supported on the GPU; use --device cpu.");
        RouteArguments choice = new(
            ids, gates, logits, bias, rule.TopK, rule.Sigmoid ? 1 : 0, rule.Groups, rule.TopGroups, rule.GroupTerms, rule.Normalize ? 1 : 0, rule.Scale);
        int bytes = (2 * logits.Columns + rule.Groups) * sizeof(float);
        if (norming is not { } norm || routing is not { } router || router.Output != logits)
        {
            Launch(route, new Grid(logits.Rows), 32, choice, bytes);
            return;
        }
        (norming, routing) = (null, null);
        Launch(normAndChoose, new Grid(StepCluster * logits.Rows), 512, new StepArguments(norm.Output, norm.Residual, norm.Delta, norm.Gain, router.Weight, choice, norm.Epsilon),
            bytes + (logits.Columns + 2 * router.Weight.Stride + (router.Weight.Stride > StepAhead ? 16 * StepAhead : 0)) * sizeof(float));
    }

    /// <inheritdoc/>
    public override void CountExperts(Tensor counts, Tensor ids) =>
        Launch(countExperts, new Grid(Up(ids.Rows * ids.Columns, Threads)), Threads, new CountArguments(counts, ids));

    /// <inheritdoc/>
    public override void Sample(Tensor ids, Tensor logits, SamplingBatch batch)
    {
        if (logits.Columns > MostVocabulary)
            throw new CudaException($"A vocabulary of {logits.Columns} tokens cannot be sampled on the GPU; use --device cpu.");
        long bytes = (long)logits.Rows * logits.Columns * sizeof(float);
        nint own = Ensure(ref adjusted, bytes, "sampling"), occurrences = Ensure(ref counts, bytes, "sampling");
        int parts = driver.Architecture >= 90 ? RowCluster : 1, run = Up(logits.Columns, parts) * sizeof(float);
        bool resident = run <= MostResident;
        Launch(sample, new Grid(parts * logits.Rows), 1024, new SampleArguments(
            ids, logits, batch.Slots, batch.Lengths, batch.PromptLengths, batch.Tokens, batch.Reals, batch.Integers,
            batch.BiasStarts, batch.BiasIds, batch.BiasValues, own, occurrences, resident ? 1 : 0), resident ? run : 0);
    }

    /// <inheritdoc/>
    public override void LogProbabilities(Tensor chosen, Tensor topIds, Tensor topValues, Tensor logits, Tensor ids) =>
        Launch(rank, new Grid(logits.Rows), 1024, new RankArguments(chosen, topIds, topValues, logits, ids));

    private readonly record struct RouteArguments(
        Tensor Ids, Tensor Gates, Tensor Logits, Tensor Bias, int TopK, int Sigmoid, int Groups, int TopGroups, int Terms, int Normalize, float Scale);

    private readonly record struct StepArguments(
        Tensor Normed, Tensor Residual, Tensor Delta, Tensor Gain, WeightView Router, RouteArguments Rule, float Epsilon);

    private readonly record struct CountArguments(Tensor Counts, Tensor Ids);

    private readonly record struct SampleArguments(
        Tensor Ids, Tensor Logits, Tensor Slots, Tensor Lengths, Tensor PromptLengths, Tensor Tokens, Tensor Reals, Tensor Integers,
        Tensor BiasStarts, Tensor BiasIds, Tensor BiasValues, nint Adjusted, nint Counts, int Resident);

    private readonly record struct RankArguments(Tensor Chosen, Tensor TopIds, Tensor TopValues, Tensor Logits, Tensor Ids);
}
