using XDeepServe.Kernels;
using XDeepServe.Models;
using XDeepServe.Models.Images;
using XDeepServe.Models.Layers;

namespace XDeepServe.FlowServe;

/// <summary>
/// Turns the images of a step into rows for the model. Keeps the last few encoded images, because a prompt cut into chunks meets
/// the same image again. Owns its backend memory. Belongs to the executor's thread.
/// </summary>
internal sealed class ImageStage : IDisposable
{
    private const int Kept = 4;
    private readonly Backend backend;
    private readonly ImageEncoder encoder;
    private readonly ImageBuffers buffers;
    private readonly Arena arena;
    private readonly Tensor rows; // F32 [tokens of a step, hidden]: at each row of the step that is an image's, its embedding
    private readonly (UInt128 Digest, Tensor Rows, long Used)[] kept; // F32 [rows of an image, hidden] each
    private readonly List<EmbeddedRows> embedded = [];
    private long clock;

    /// <summary>Takes memory for the largest step.</summary>
    public ImageStage(Backend backend, ImageEncoder encoder, int maxTokens)
    {
        (this.backend, this.encoder) = (backend, encoder);
        buffers = encoder.CreateBuffers(backend);
        arena = backend.CreateArena(
            Arena.BytesFor(ElementType.F32, maxTokens, encoder.Columns) + (Kept * Arena.BytesFor(ElementType.F32, encoder.Shape.Rows, encoder.Columns)));
        rows = arena.Allocate(ElementType.F32, maxTokens, encoder.Columns);
        kept = [.. Enumerable.Range(0, Kept).Select(_ => (default(UInt128), arena.Allocate(ElementType.F32, encoder.Shape.Rows, encoder.Columns), 0L))];
    }

    /// <summary>The step's rows that are images'; valid until the next call. Null if there are none.</summary>
    public List<EmbeddedRows>? Gather(StepPlan plan)
    {
        embedded.Clear();
        int row = 0;
        foreach (PlannedWork work in plan.Entries)
        {
            IReadOnlyList<PromptImage> images = work.Sequence.Request.Images;
            for (int i = 0; i < images.Count; i++)
            {
                PromptImage image = images[i];
                int from = Math.Max(image.Start, work.Start), to = Math.Min(image.End, work.Length);
                if (from >= to)
                    continue;
                Tensor place = rows.Slice(row + from - work.Start, to - from);
                backend.Copy(place, Encoded(image).Slice(from - image.Start, to - from));
                embedded.Add(new EmbeddedRows(row + from - work.Start, place));
            }
            row += work.Count;
        }
        return embedded.Count == 0 ? null : embedded;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        buffers.Dispose();
        arena.Dispose();
    }

    private Tensor Encoded(PromptImage image)
    {
        int oldest = 0;
        for (int i = 0; i < kept.Length; i++)
        {
            if (kept[i].Used > 0 && kept[i].Digest == image.Digest)
            {
                kept[i].Used = ++clock;
                return kept[i].Rows;
            }
            if (kept[i].Used < kept[oldest].Used)
                oldest = i;
        }
        kept[oldest].Used = 0; // not to be found if encoding fails
        encoder.Encode(backend, kept[oldest].Rows, image.Pixels, buffers);
        (kept[oldest].Digest, kept[oldest].Used) = (image.Digest, ++clock);
        return kept[oldest].Rows;
    }
}
