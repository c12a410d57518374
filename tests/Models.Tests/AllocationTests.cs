using System.Text.Json.Nodes;
using XDeepServe.Kernels;

namespace XDeepServe.Models.Tests;

public class AllocationTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_step_allocates_nothing(bool latent)
    {
        JsonObject config = latent ? TinyModel.DeepSeekConfig() : TinyModel.Qwen3Config();
        using var loaded = new LoadedModel(TinyModel.Checkpoint(config), Backends.Create("auto"));
        (Model model, Backend backend) = (loaded.Model, loaded.Backend);
        using Workspace workspace = model.CreateWorkspace(8, 8);
        using var cache = new KvCache(model.Cache, 4, 16, backend.CreateArena(4 * KvCache.BytesPerBlock(model.Cache, 16)));
        using Arena arena = backend.CreateArena(1 << 16);
        Tensor Put(params int[] values)
        {
            Tensor tensor = arena.Allocate(ElementType.I32, values.Length, 1);
            backend.Upload<int>(tensor, values);
            return tensor;
        }
        var batch = new ForwardBatch(Put(5, 6, 7), new PagedBatch(Put(0, 0, 1), Put(0, 1, 3), Put(1, 2), Put(0, 1), 16));
        Tensor rows = Put(0, 2);
        Tensor logits = arena.Allocate(ElementType.F32, 2, model.Config.VocabularySize);

        long allocated = 0;
        for (int round = 0; round < 3; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 10; i++)
            {
                model.Forward(batch, cache, workspace);
                model.Logits(logits, rows, workspace);
            }
            allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        }
        Assert.Equal(0, allocated);
    }
}
