namespace XDeepServe.Kernels.Cuda;

/// <summary>What a product for few rows does.</summary>
internal enum ProductForm
{
    /// <summary>One matrix.</summary>
    Linear,
    /// <summary>One matrix of gates and ups, and SwiGlu.</summary>
    LinearGated,
    /// <summary>Chosen experts.</summary>
    Grouped,
    /// <summary>Chosen experts' gates and ups, and SwiGlu.</summary>
    GroupedGated,
}

/// <summary>The variants of Products.cu: by weight type, number of tokens and warps of a block. Each is compiled when it is first asked for.</summary>
/// <param name="library">Loads them.</param>
/// <param name="splits">Inputs are taken as two bfloat16 halves.</param>
internal sealed class ProductKernels(KernelLibrary library, bool splits)
{
    private const int Tiles = 3, Forms = 4, Kinds = 3, Sizes = 4;
    private readonly Kernel?[] kernels = new Kernel?[Kinds * Tiles * Forms * Sizes];

    /// <summary>A kernel and the shared memory it is launched with.</summary>
    /// <param name="form">What it does.</param>
    /// <param name="kind">1 for bfloat16 weights, 2 for 8-bit blocks, 3 for 8-bit floats.</param>
    /// <param name="tokens">Tokens that it is made for; more take several turns.</param>
    /// <param name="warps">4, 8 or 16 warps of a block.</param>
    /// <param name="tall">A block has 32 rows instead of 16.</param>
    public (Kernel Kernel, int SharedBytes) this[ProductForm form, int kind, int tokens, int warps, bool tall]
    {
        get
        {
            int tile = tokens <= 8 ? 0 : tokens <= 16 ? 1 : 2, size = tall ? 3 : warps / 8;
            bool gated = form is ProductForm.LinearGated or ProductForm.GroupedGated;
            // Pieces that a warp has on their way: enough for 768, 2048 or 4096 columns to be under way at once.
            int depth = gated || (tall && warps == 8) ? 4 : warps == 4 ? 6 : 8, bytes = warps * depth * (gated || tall ? 2 : 1) * 64 * (kind == 1 ? 16 : 8);
            // Two tiles of tokens in one half each leave registers for a third block: then all of a projection's blocks are there at once.
            bool third = tile == 1 && !splits && form == ProductForm.Linear && warps == 8;
            int batch = tile == 0 ? depth / 2 : tile == 2 || (tall && third) ? 2 : third ? 4 : depth;
            int blocks = third ? 3 : tall && warps == 4 ? 4 : Blocks(warps, gated, roomy: splits || tile > 0);
            ref Kernel? kernel = ref kernels[(((((kind - 1) * Tiles) + tile) * Forms) + (int)form) * Sizes + size];
            kernel ??= new Kernel(
                library, "Products.cu", form switch
                {
                    ProductForm.Linear => "linear",
                    ProductForm.LinearGated => "linearGated",
                    ProductForm.Grouped => "grouped",
                    _ => "groupedGated",
                },
                bytes,
                $"{(gated ? "#define GATES\n" : "")}#define KIND {kind}\n#define TILES {1 << tile}\n#define SPLIT {(splits ? "true" : "false")}\n" +
                $"#define WARPS {warps}\n#define DEPTH {depth}\n#define BATCH {batch}\n#define HEIGHT {(tall ? 2 : 1)}\n#define BLOCKS {blocks}\n");
            return (kernel, bytes);
        }
    }

    /// <summary>Blocks that a multiprocessor is to have registers for, so that the next kernel finds room; those with more tokens need more.</summary>
    private static int Blocks(int warps, bool gated, bool roomy) => warps switch { 16 => roomy ? 1 : 2, 8 => roomy ? 2 : gated ? 3 : 4, _ => roomy ? 4 : 8 };
}
