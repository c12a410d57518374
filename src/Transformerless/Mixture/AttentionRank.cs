using XDeepServe.FlowServe;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Kernels;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models;
using XDeepServe.Models.Loading;
using XDeepServe.Xccl;
using XDeepServe.Xccl.Tokens;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// A rank that has attention: the whole model but its experts, which are an exchange away, all of them or all but this rank's
/// share. <see cref="Model"/> and <see cref="Domain"/> are what an engine needs.
/// </summary>
public sealed class AttentionRank : IDisposable
{
    private readonly ExpertCompute? compute;
    private readonly PlacementBoard board;
    private readonly DpDomain domain;

    private AttentionRank(Model model, ExpertExchange exchange, PlacementBoard board, DpDomain domain, ExpertCompute? compute) =>
        (Model, Exchange, this.board, this.domain, this.compute) = (model, exchange, board, domain, compute);

    /// <summary>The model without its experts.</summary>
    public Model Model { get; }

    /// <summary>The groups that take their steps together.</summary>
    public IStepDomain Domain => domain;

    /// <summary>The way to the experts.</summary>
    public ExpertExchange Exchange { get; }

    /// <summary>What all ranks of the service have told, and what was moved.</summary>
    public MixtureMetrics Metrics => board.Metrics;

    /// <summary>Steps taken together with the domain's other groups.</summary>
    public long Steps => domain.Steps;

    /// <summary>Steps of others in which this rank had no rows.</summary>
    public long EmptySteps => domain.EmptySteps;

    /// <summary>Steps run as two micro-batches.</summary>
    public long SplitSteps => domain.SplitSteps;

    /// <summary>Epochs that have begun since the first: deaths that were got over.</summary>
    public int Recoveries => domain.Recoveries;

    /// <summary>Joins ranks each of which has attention and a share of the experts (colocated expert parallelism).</summary>
    /// <param name="checkpoint">The opened files; open until the rank is disposed.</param>
    /// <param name="backend">This rank's own; stays the caller's.</param>
    /// <param name="model">How to load.</param>
    /// <param name="engine">The engine's settings, the same on all ranks.</param>
    /// <param name="options">How ranks share experts.</param>
    /// <param name="rank">This rank.</param>
    /// <param name="ranks">Ranks.</param>
    /// <exception cref="ArgumentException">The model has no experts, or they cannot be balanced as asked.</exception>
    /// <exception cref="XcclException">A rank did not come in time; the message names it.</exception>
    public static AttentionRank JoinColocated(Checkpoint checkpoint, Backend backend, ModelOptions model, EngineOptions engine, MixtureOptions options, int rank, int ranks)
    {
        var config = ModelConfig.Read(checkpoint.Config, checkpoint.GenerationConfig);
        options = options.For(config, ranks);
        int[] members = [.. Enumerable.Range(0, ranks)];
        MixtureEpoch epoch = new(0, members, members, ExpertLayout.Plain(config, ranks, options.Redundant, options.SharedApart), Colocated: true);
        TokenShape shape = ShapeFor(config, engine.MaxBatchedTokens, options);
        HeldExperts held = new(checkpoint, backend, model.Quantization, epoch.Layout, rank);
        ExpertCompute compute = new(backend, held, shape, ranks * shape.MaxTokens);
        ExpertTimes times = new();
        return Join(
            checkpoint, backend, model, engine, options, epoch, epoch with { Domain = 1 }, rank, shape, held, compute, times,
            place => new ColocatedRoute(place.Group, shape, place.Epoch.Layout.TargetsPerRank, compute, times));
    }

    /// <summary>Joins a domain of ranks that have attention alone, and its experts.</summary>
    /// <param name="checkpoint">The opened files; open until the rank is disposed.</param>
    /// <param name="backend">This rank's own; stays the caller's.</param>
    /// <param name="model">How to load.</param>
    /// <param name="engine">The engine's settings, the same on all ranks.</param>
    /// <param name="options">How ranks share experts.</param>
    /// <param name="split">Who is what.</param>
    /// <param name="member">This rank among those with attention.</param>
    /// <exception cref="ArgumentException">The model has no experts, or they cannot be balanced as asked.</exception>
    /// <exception cref="XcclException">A rank did not come in time; the message names it.</exception>
    public static AttentionRank JoinSplit(Checkpoint checkpoint, Backend backend, ModelOptions model, EngineOptions engine, MixtureOptions options, SplitPlan split, int member)
    {
        var config = ModelConfig.Read(checkpoint.Config, checkpoint.GenerationConfig);
        options = options.For(config, split.Experts);
        ExpertLayout layout = ExpertLayout.Plain(config, split.Experts, options.Redundant, options.SharedApart);
        TokenShape shape = ShapeFor(config, engine.MaxBatchedTokens, options);
        return Join(
            checkpoint, backend, model, engine, options, split.EpochOf(split.DomainOf(member), layout), split.Everybody(layout), member, shape, null, null, null,
            place => new SplitRoute(new AttentionSide(place.Group, EpochGroup.SplitOf(place.Epoch, options), shape)));
    }

    /// <summary>Leaves. The engine has been disposed before.</summary>
    public void Dispose()
    {
        Model.Dispose();
        domain.Dispose();
        board.Dispose();
        compute?.Dispose();
    }

    /// <summary>The shape of a model's exchanges.</summary>
    internal static TokenShape ShapeFor(ModelConfig config, int mostRows, MixtureOptions options) => new()
    {
        MaxTokens = Math.Min(options.MaxTokens, mostRows),
        Hidden = config.HiddenSize,
        TopK = config.Experts!.Rule.TopK + (options.SharedApart ? 1 : 0),
        DispatchWire = options.DispatchWire,
        CombineWire = options.CombineWire,
    };

    private static AttentionRank Join(
        Checkpoint checkpoint, Backend backend, ModelOptions model, EngineOptions engine, MixtureOptions options, MixtureEpoch epoch, MixtureEpoch everybody,
        int member, TokenShape shape, HeldExperts? held, ExpertCompute? compute, ExpertTimes? times, Func<EpochGroup, ExchangeRoute> connect)
    {
        (int slices, TimeSpan slice) = options.Balancing is { } balancing ? (balancing.Slices, balancing.Period / balancing.Slices) : (1, TimeSpan.Zero);
        ExpertExchange exchange = new(shape, epoch.Layout, engine.MaxBatchedTokens, member, slices, slice)
        {
            Lag = options.Lag,
            Times = new AttentionTimes { OnProcessor = backend is CpuBackend },
        };
        Model? loaded = null;
        PlacementBoard? board = null;
        DpDomain? domain = null;
        try
        {
            loaded = Model.Load(checkpoint, backend, model with { Experts = layer => new RemoteExperts(exchange, epoch.Layout.PlaceOf(layer)) });
            board = new PlacementBoard(options, everybody, member, held is null ? -1 : member, exchange, held, times);
            domain = new DpDomain(member, exchange, backend, connect, board, options, epoch);
            board.Start(domain.Post, domain);
            domain.Join();
            return new AttentionRank(loaded, exchange, board, domain, compute);
        }
        catch
        {
            domain?.Dispose();
            board?.Dispose();
            loaded?.Dispose();
            compute?.Dispose();
            throw;
        }
    }
}
