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
    private const int Tiles = 3, Forms = 4, Kinds = 2;
    private readonly Kernel?[] kernels = new Kernel?[Kinds * Tiles * Forms * 2];

    /// <summary>A kernel.</summary>
    /// <param name="form">What it does.</param>
    /// <param name="kind">1 for bfloat16 weights, 2 for 8-bit blocks.</param>
    /// <param name="tokens">Tokens that it is made for; more take several turns.</param>
    /// <param name="warps">8 or 16 warps of a block.</param>
    public Kernel this[ProductForm form, int kind, int tokens, int warps]
    {
        get
        {
            int tile = tokens <= 8 ? 0 : tokens <= 16 ? 1 : 2;
            ref Kernel? kernel = ref kernels[((((kind - 1) * Tiles) + tile) * Forms + (int)form) * 2 + (warps == 16 ? 1 : 0)];
            return kernel ??= new Kernel(
                library, "Products.cu", form switch
                {
                    ProductForm.Linear => "linear",
                    ProductForm.LinearGated => "linearGated",
                    ProductForm.Grouped => "grouped",
                    _ => "groupedGated",
                },
                definitions: $"#define KIND {kind}\n#define TILES {1 << tile}\n#define SPLIT {(splits ? "true" : "false")}\n#define WARPS {warps}\n");
        }
    }
}
