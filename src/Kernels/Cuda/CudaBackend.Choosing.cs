namespace XDeepServe.Kernels.Cuda;

public sealed unsafe partial class CudaBackend
{
    private const int MostVocabulary = 1 << 24;
    private readonly Kernel route, countExperts, rank, sample;
    private DeviceBuffer? adjusted, counts;

    /// <inheritdoc/>
    public override void Route(Tensor ids, Tensor gates, Tensor logits, Tensor bias, RoutingRule rule)
    {
        if (rule.GroupTerms is not (1 or 2))
            throw new CudaException($"Expert groups scored by their {rule.GroupTerms} best are not supported on the GPU; use --device cpu.");
        Launch(route, new Grid(logits.Rows), 32, new RouteArguments(
            ids, gates, logits, bias, rule.TopK, rule.Sigmoid ? 1 : 0, rule.Groups, rule.TopGroups, rule.GroupTerms, rule.Normalize ? 1 : 0, rule.Scale),
            (2 * logits.Columns + rule.Groups) * sizeof(float));
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
        Launch(sample, new Grid(logits.Rows), 1024, new SampleArguments(
            ids, logits, batch.Slots, batch.Lengths, batch.PromptLengths, batch.Tokens, batch.Reals, batch.Integers,
            batch.BiasStarts, batch.BiasIds, batch.BiasValues, own, occurrences));
    }

    /// <inheritdoc/>
    public override void LogProbabilities(Tensor chosen, Tensor topIds, Tensor topValues, Tensor logits, Tensor ids) =>
        Launch(rank, new Grid(logits.Rows), 1024, new RankArguments(chosen, topIds, topValues, logits, ids));

    private readonly record struct RouteArguments(
        Tensor Ids, Tensor Gates, Tensor Logits, Tensor Bias, int TopK, int Sigmoid, int Groups, int TopGroups, int Terms, int Normalize, float Scale);

    private readonly record struct CountArguments(Tensor Counts, Tensor Ids);

    private readonly record struct SampleArguments(
        Tensor Ids, Tensor Logits, Tensor Slots, Tensor Lengths, Tensor PromptLengths, Tensor Tokens, Tensor Reals, Tensor Integers,
        Tensor BiasStarts, Tensor BiasIds, Tensor BiasValues, nint Adjusted, nint Counts);

    private readonly record struct RankArguments(Tensor Chosen, Tensor TopIds, Tensor TopValues, Tensor Logits, Tensor Ids);
}
