using XDeepServe.FlowServe;
using XDeepServe.Kernels;
using XDeepServe.Models;
using XDeepServe.Models.Loading;
using XDeepServe.Xccl;
using XDeepServe.Xccl.Regions;
using XDeepServe.Xccl.Tokens;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// One rank of colocated expert parallelism: the whole model but its experts, of which it has a share; the others are one
/// exchange away. <see cref="Model"/> and <see cref="Domain"/> are what an engine needs.
/// </summary>
public sealed class ColocatedRank : IDisposable
{
    private readonly Communicator group;
    private readonly ExpertShelf shelf;
    private readonly ColocatedExchange exchange;

    private ColocatedRank(Communicator group, ExpertShelf shelf, ColocatedExchange exchange, Model model, Backend backend)
    {
        (this.group, this.shelf, this.exchange, Model) = (group, shelf, exchange, model);
        Domain = new DpDomain(group, exchange, backend);
    }

    /// <summary>The model whose experts are shared.</summary>
    public Model Model { get; }

    /// <summary>The groups that take their steps together.</summary>
    public IStepDomain Domain { get; }

    /// <summary>The way to the experts.</summary>
    public ExpertExchange Exchange => exchange;

    /// <summary>Joins the others and loads this rank's part.</summary>
    /// <param name="checkpoint">The opened files; open until the rank is disposed.</param>
    /// <param name="backend">This rank's own; stays the caller's.</param>
    /// <param name="model">How to load.</param>
    /// <param name="engine">The engine's settings, the same on all ranks.</param>
    /// <param name="options">How ranks share experts.</param>
    /// <param name="rank">This rank.</param>
    /// <param name="ranks">Ranks.</param>
    /// <exception cref="ArgumentException">The model has no experts.</exception>
    /// <exception cref="XcclException">A rank did not come in time; the message names it.</exception>
    public static ColocatedRank Join(Checkpoint checkpoint, Backend backend, ModelOptions model, EngineOptions engine, MixtureOptions options, int rank, int ranks)
    {
        var config = ModelConfig.Read(checkpoint.Config, checkpoint.GenerationConfig);
        ExpertLayout layout = ExpertLayout.Plain(config, ranks, options.Redundant);
        TokenShape shape = ShapeFor(config, engine, options);
        Stack<IDisposable> owned = new();
        try
        {
            ExpertShelf shelf = ExpertShelf.Load(checkpoint, backend, model.Quantization, layer => layout.Held(layer, rank));
            owned.Push(shelf);
            Communicator group = Communicator.Join(new GroupOptions
            {
                Name = options.Name,
                Rank = rank,
                Geometry = new RegionGeometry { Ranks = ranks, Slots = 2, SlotBytes = 64, RecordBytes = 64, Channels = [.. AllToAll.Channels(shape)] },
                Strategy = options.Strategy,
                Timeout = options.Timeout,
                JoinTimeout = options.JoinTimeout,
            });
            owned.Push(group);
            ColocatedExchange exchange = new(group, shape, layout, engine.MaxBatchedTokens, new ExpertCompute(backend, shelf, shape, ranks * shape.MaxTokens));
            owned.Push(exchange);
            Model loaded = Model.Load(checkpoint, backend, model with { Experts = layer => new RemoteExperts(exchange, layout.PlaceOf(layer)) });
            return new ColocatedRank(group, shelf, exchange, loaded, backend);
        }
        catch
        {
            while (owned.TryPop(out IDisposable? item))
                item.Dispose();
            throw;
        }
    }

    /// <summary>Leaves. The engine has been disposed before.</summary>
    public void Dispose()
    {
        Model.Dispose();
        exchange.Dispose();
        group.Dispose();
        shelf.Dispose();
    }

    /// <summary>The shape of a model's exchanges.</summary>
    internal static TokenShape ShapeFor(ModelConfig config, EngineOptions engine, MixtureOptions options) => new()
    {
        MaxTokens = Math.Min(options.MaxTokens, engine.MaxBatchedTokens),
        Hidden = config.HiddenSize,
        TopK = config.Experts!.Rule.TopK,
        DispatchWire = options.DispatchWire,
        CombineWire = options.CombineWire,
    };
}
