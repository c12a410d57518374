using XDeepServe.Kernels;
using XDeepServe.Kernels.Naive;
using XDeepServe.Models.Layers;

namespace XDeepServe.Models.Tests;

/// <summary>Units of a layer run without the rest of it, which is what a split engine needs.</summary>
public class UnitTests
{
    private const int Tokens = 5;
    private const int Hidden = 64;

    [Fact]
    public void Router_experts_and_shared_unit_apart_equal_the_whole()
    {
        using var loaded = new LoadedModel(TinyModel.Checkpoint(TinyModel.DeepSeekConfig()), new NaiveBackend());
        Backend backend = loaded.Backend;
        var whole = Assert.IsType<MixtureOfExperts>(loaded.Model.Layers[1].FeedForward);
        int topK = whole.Router.TopK;
        using Arena arena = backend.CreateArena(1 << 20);
        Tensor input = RandomRows(backend, arena);
        Tensor expected = arena.Allocate(ElementType.F32, Tokens, Hidden);
        whole.Run(backend, expected, input, new Scratch(arena, whole.ScratchBytes(Tokens)));

        Tensor ids = arena.Allocate(ElementType.I32, Tokens, topK);
        Tensor gates = arena.Allocate(ElementType.F32, Tokens, topK);
        Tensor rows = arena.Allocate(ElementType.F32, Tokens * topK, Hidden);
        Tensor shared = arena.Allocate(ElementType.F32, Tokens, Hidden);
        Tensor actual = arena.Allocate(ElementType.F32, Tokens, Hidden);
        whole.Router.Run(backend, ids, gates, input, new Scratch(arena, whole.Router.ScratchBytes(Tokens)));
        var experts = Assert.IsType<Experts>(whole.Experts);
        experts.Run(backend, rows, input, ids, new Scratch(arena, experts.ScratchBytes(Tokens * topK)));
        whole.Shared!.Run(backend, shared, input, new Scratch(arena, whole.Shared.ScratchBytes(Tokens)));
        backend.CombineExperts(actual, rows, gates, shared);
        Assert.Equal(Read(backend, expected), Read(backend, actual));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Attention_loads_and_runs_without_feed_forward_weights(bool latent)
    {
        var config = latent ? TinyModel.DeepSeekConfig() : TinyModel.Qwen3Config();
        using MemoryCheckpoint checkpoint = TinyModel.Checkpoint(config);
        foreach (string name in checkpoint.Names.Where(name => name.Contains(".mlp.", StringComparison.Ordinal)).ToArray())
            checkpoint.Remove(name);
        using var backend = new NaiveBackend();
        using var loader = new WeightLoader(checkpoint, backend, null);
        var model = ModelConfig.Read(config);
        Families.Family family = Families.Family.All.Single(candidate => candidate.Name == model.Family);
        Tensor rope = loader.Allocate(16, family.RopeWidth(model));
        RopeTable.Fill(backend, rope, model.Rope);
        AttentionUnit unit = family.LoadAttention(1, model, loader, rope);

        using Arena arena = backend.CreateArena(1 << 20);
        var layout = new CacheLayout(ElementType.F32, [unit.CacheRows]);
        using var cache = new KvCache(layout, 1, 16, backend.CreateArena(KvCache.BytesPerBlock(layout, 16)));
        Tensor positions = Integers(backend, arena, [0, 1, 2, 3, 4]);
        var batch = new PagedBatch(
            positions, Integers(backend, arena, [0, Tokens]), Integers(backend, arena, [Tokens]), Integers(backend, arena, [0]), 16);
        Tensor output = arena.Allocate(ElementType.F32, Tokens, Hidden);
        unit.Run(backend, output, RandomRows(backend, arena), batch, cache, 0, new Scratch(arena, unit.ScratchBytes(Tokens)));
        Assert.Contains(Read(backend, output), value => value != 0);
        Assert.All(Read(backend, output), value => Assert.True(float.IsFinite(value)));
    }

    [Fact]
    public void A_block_of_cache_holds_what_the_layout_says()
    {
        using var loaded = new LoadedModel(TinyModel.Checkpoint(TinyModel.DeepSeekConfig()), new NaiveBackend(), new ModelOptions(Cache: ElementType.BF16));
        CacheLayout layout = loaded.Model.Cache;
        Assert.Equal(2 * (32 + 8) * 2, layout.BytesPerPosition);
        Assert.Equal(16 * layout.BytesPerPosition, KvCache.BytesPerBlock(layout, 16));
        using var cache = new KvCache(layout, 3, 16, loaded.Backend.CreateArena(3 * KvCache.BytesPerBlock(layout, 16)));
        Assert.Equal((3, 16 * 40, ElementType.BF16), (cache[1, 0].Rows, cache[1, 0].Columns, cache[1, 0].Type));
    }

    [Fact]
    public void Scratch_refuses_more_than_announced()
    {
        using var backend = new NaiveBackend();
        using Arena arena = backend.CreateArena(1024);
        var scratch = new Scratch(arena, Scratch.Size(2, 16));
        nint first = scratch.Take(1, 16).Address;
        scratch.Take(1, 16);
        Assert.Throws<InvalidOperationException>(() => scratch.Take(1, 1));
        scratch.Rewind();
        Assert.Equal(first, scratch.Take(2, 16).Address);
    }

    private static Tensor RandomRows(Backend backend, Arena arena)
    {
        var random = new Random(11);
        Tensor tensor = arena.Allocate(ElementType.F32, Tokens, Hidden);
        backend.Upload<float>(tensor, [.. Enumerable.Range(0, Tokens * Hidden).Select(_ => (random.NextSingle() * 2) - 1)]);
        return tensor;
    }

    private static Tensor Integers(Backend backend, Arena arena, int[] values)
    {
        Tensor tensor = arena.Allocate(ElementType.I32, values.Length, 1);
        backend.Upload<int>(tensor, values);
        return tensor;
    }

    private static float[] Read(Backend backend, Tensor tensor)
    {
        float[] values = new float[tensor.Rows * tensor.Columns];
        backend.Download<float>(tensor, values);
        return values;
    }
}
