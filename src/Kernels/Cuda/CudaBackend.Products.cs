namespace XDeepServe.Kernels.Cuda;

public sealed unsafe partial class CudaBackend
{
    private const int FewTokens = 32;    // up to here a product reads its weights straight into registers
    private const int FewPairs = 1024;   // up to here a block finds its expert's pairs itself
    private const int TileTokens = 64, TileRows = 128;
    private const int MostProductBytes = 128 << 10; // of blocks of 16 warps
    private readonly Kernel singlesFew, singlesGrouped, singlesMany, group, packRows, addBias;
    private readonly Kernel[] tiles, tilesGated, restore; // by kind of weight: bfloat16, 8-bit blocks, 8-bit floats
    private readonly ProductKernels products;
    private readonly DenseProducts? dense;
    private DeviceBuffer? packed, grouping, restored, gatedRows;
    private Tensor grouped; // the ids of the product that was launched last, if it was one of experts

    /// <inheritdoc/>
    public override void Linear(Tensor output, Tensor input, Weight weight, Tensor bias = default)
    {
        if (weight is StackedWeight stack)
        {
            Stacked(output, input, stack, bias);
            return;
        }
        WeightView view = View(weight);
        int kind = ((CudaWeight)weight).Kind;
        if (kind == 0)
        {
            SinglesArguments singles = new(output, input, bias, default, view);
            if (norming is { } norm && norm.Output == input && routing is null && bias.IsEmpty)
                routing = singles;
            else
                Singles(singles);
        }
        else if (input.Rows <= FewTokens)
            Product(ProductForm.Linear, kind, input.Rows, new Grid(Up(view.Rows, 16)), new ProductArguments(output, input, bias, default, view, 0, 0, Vectors(input), 0));
        else
            Many(output, input, view, kind, bias);
    }

    /// <inheritdoc/>
    public override void LinearSwiGlu(Tensor output, Tensor both, Tensor input, Weight weight, Tensor bias = default)
    {
        if (weight is not CudaWeight { Kind: > 0 and int kind } || input.Rows > FewTokens)
        {
            base.LinearSwiGlu(output, both, input, weight, bias);
            return;
        }
        WeightView view = View(weight);
        Product(ProductForm.LinearGated, kind, input.Rows, new Grid(Up(view.Rows / 2, 16)), new ProductArguments(output, input, bias, default, view, 0, 0, Vectors(input), 0));
    }

    /// <inheritdoc/>
    public override void GroupedLinear(Tensor output, Tensor input, Weight weight, Tensor ids)
    {
        WeightView view = View(weight);
        int kind = ((CudaWeight)weight).Kind;
        if (kind > 0 && gating is { } gates && gates.Output == input && gates.Ids == ids)
        {
            Experts(output, gates, view, kind);
            return;
        }
        Settle();
        if (kind == 0)
            Launch(singlesGrouped, new Grid(output.Rows, Up(view.Rows, 8)), Threads, new SinglesArguments(output, input, default, ids, view));
        else if (ManyPairs(ids))
            ManyGrouped(output, input, view, kind, ids);
        else
            FewGrouped(ProductForm.Grouped, output, input, view, kind, ids, view.Rows);
    }

    /// <inheritdoc/>
    public override void GroupedSwiGlu(Tensor output, Tensor both, Tensor input, Weight weight, Tensor ids)
    {
        Settle();
        WeightView view = View(weight);
        int kind = ((CudaWeight)weight).Kind;
        if (kind == 0)
            base.GroupedSwiGlu(output, both, input, weight, ids);
        else if (ManyPairs(ids))
            gating = new GatingArguments(output, both, input, weight, ids); // waits for what comes next: as a rule the downs, which take it in
        else
            FewGrouped(ProductForm.GroupedGated, output, input, view, kind, ids, view.Rows / 2);
    }

    /// <summary>Both products of the experts of many tokens; what is between them stays in bfloat16 and in the order of experts.</summary>
    private void Experts(Tensor output, in GatingArguments gates, WeightView down, int kind)
    {
        gating = null;
        (WeightView up, Tensor input, Tensor ids) = (View(gates.Weight), gates.Input, gates.Ids);
        int pairs = ids.Rows * ids.Columns, count = (pairs / TileTokens) + up.Groups;
        (nint order, nint _, nint list) = Group(ids, up.Groups);
        (nint high, nint low) = Pack(input, up.Stride);
        long plane = (long)pairs * down.Stride * 2;
        nint middle = Ensure(ref gatedRows, plane * (splits ? 2 : 1), "rows between experts' products"), lost = splits ? middle + (nint)plane : 0;
        Tiles(((CudaWeight)gates.Weight).Kind, new Grid(Up(down.Stride, TileRows / 2), count),
            new TileArguments(output, default, up, high, low, order, list, middle, lost, pairs, input.Rows == ids.Rows ? ids.Columns : 1, down.Stride));
        Tiles(kind, new Grid(Up(down.Rows, TileRows), count), new TileArguments(output, default, down, middle, lost, order, list, 0, 0, pairs, 0, 0));
    }

    private static bool ManyPairs(Tensor ids) => ids.Rows > 2 * FewTokens || (long)ids.Rows * ids.Columns > FewPairs;

    private static int Vectors(Tensor input) => input.Address % 16 == 0 && input.Stride % 4 == 0 ? 1 : 0;

    private void Product(ProductForm form, int kind, int tokens, Grid grid, in ProductArguments arguments)
    {
        // Few blocks of many columns: more warps a block keep memory busy. A row's sum depends on the weight's shape alone.
        bool dense = form is ProductForm.Linear or ProductForm.LinearGated;
        int warps = dense && grid.X <= driver.Processors && arguments.Weight.Stride >= 2048 && driver.SharedBytes >= MostProductBytes ? 16 : !dense && arguments.Weight.Stride <= 1024 ? 4 : 8;
        // Many rows: blocks of 32 instead of 16 read the tokens half as often, and half as many have to start.
        bool tall = form == ProductForm.Linear ? !splits && tokens > 8 && grid.X >= 8 * driver.Processors : form == ProductForm.Grouped && tokens <= 8 && warps == 4;
        (Kernel kernel, int bytes) = products[form, kind, tokens, warps, tall];
        Launch(kernel, tall ? grid with { X = Up(grid.X, 2) } : grid, 32 * warps, arguments, bytes);
        grouped = dense ? default : arguments.Ids;
    }

    /// <summary>
    /// Whether the launch before this one was a product of the same experts: those let their successor start only once the ids are
    /// there, so that its weights can be on their way while they end.
    /// </summary>
    private int Known(Tensor ids) => grouped == ids ? 1 : 0;

    private void FewGrouped(ProductForm form, Tensor output, Tensor input, WeightView view, int kind, Tensor ids, int rows)
    {
        int pairs = ids.Rows * ids.Columns, blocks = Up(rows, 16);
        // What an expert is likely to get; more takes another turn over weights that are near by then.
        int expected = Math.Max(1, Math.Min(ids.Rows, 3 * pairs / view.Groups));
        if (pairs <= FewPairs)
        {
            Product(form, kind, expected, new Grid(blocks, pairs), new ProductArguments(output, input, default, ids, view, 0, 0, Vectors(input), Known(ids)));
            return;
        }
        (nint order, nint starts, nint _) = Group(ids, view.Groups);
        Product(form, kind, expected, new Grid(blocks, view.Groups), new ProductArguments(output, input, default, ids, view, order, starts, Vectors(input), 0));
    }

    private void Singles(in SinglesArguments arguments)
    {
        if (arguments.Input.Rows <= FewTokens)
            Launch(singlesFew, new Grid(arguments.Weight.Rows), 128, arguments);
        else
            Launch(singlesMany, new Grid(Up(arguments.Weight.Rows, 64), Up(arguments.Input.Rows, 64)), Threads, arguments);
    }

    private void Many(Tensor output, Tensor input, WeightView view, int kind, Tensor bias)
    {
        (nint high, nint low) = Pack(input, view.Stride);
        if (dense is null || !dense.TryRun(output, high, low, Plain(view, kind), view.Rows, view.Stride, input.Rows))
            Tiles(kind, new Grid(Up(view.Rows, TileRows), Up(input.Rows, TileTokens)), new TileArguments(output, bias, view, high, low, 0, 0, 0, 0, input.Rows, 0, 0));
        else if (!bias.IsEmpty)
            Launch(addBias, new Grid(Up(output.Columns, Threads), output.Rows), Threads, new BiasArguments(output, bias));
    }

    private void ManyGrouped(Tensor output, Tensor input, WeightView view, int kind, Tensor ids)
    {
        int pairs = ids.Rows * ids.Columns;
        (nint order, nint _, nint list) = Group(ids, view.Groups);
        (nint high, nint low) = Pack(input, view.Stride);
        Tiles(kind, new Grid(Up(view.Rows, TileRows), (pairs / TileTokens) + view.Groups),
            new TileArguments(output, default, view, high, low, order, list, 0, 0, pairs, input.Rows == ids.Rows ? ids.Columns : 1, 0));
    }

    private void Tiles(int kind, Grid grid, in TileArguments arguments) =>
        Launch((arguments.GatedHigh != 0 ? tilesGated : tiles)[kind - 1], grid, 128, arguments, TileBytes(kind));

    /// <summary>Shared memory of Tiles.cu: three stages of tokens and weights, and behind those of bytes two tiles of what they are widened to.</summary>
    private static int TileBytes(int kind) => kind == 1 ? 3 * (TileTokens + TileRows) * 128 : (3 * ((TileTokens * 128) + (TileRows * 64))) + (2 * TileRows * 128);

    /// <summary>The values of a weight in bfloat16.</summary>
    private nint Plain(WeightView view, int kind)
    {
        if (kind == 1)
            return view.Values;
        long count = (long)view.Groups * view.Rows * view.Stride;
        nint plain = Ensure(ref restored, count * 2, "a weight of bytes in bfloat16");
        Launch(restore[kind - 1], new Grid(Up(count / 4, Threads)), Threads, new RestoreArguments(view, plain));
        return plain;
    }

    /// <summary>Pairs in order of expert, where each expert's begin, and the tiles of pairs.</summary>
    private (nint Order, nint Starts, nint Tiles) Group(Tensor ids, int experts)
    {
        int pairs = ids.Rows * ids.Columns;
        long bytes = 4L * (pairs + experts + 1 + 3L * (pairs / TileTokens + experts));
        nint order = Ensure(ref grouping, bytes, "the order of experts"), starts = order + 4 * pairs, list = starts + 4 * (experts + 1);
        Launch(group, new Grid(1), 1024, new GroupArguments(ids, order, starts, list, experts, TileTokens), 8 * experts);
        return (order, starts, list);
    }

    /// <summary>Input rows in bfloat16, or as two halves.</summary>
    private (nint High, nint Low) Pack(Tensor input, int stride)
    {
        long plane = (long)input.Rows * stride * 2;
        nint high = Ensure(ref packed, plane * (splits ? 2 : 1), "inputs in bfloat16"), low = splits ? high + (nint)plane : 0;
        Launch(packRows, new Grid(input.Rows, Up(stride, 2 * Threads)), Threads, new PackArguments(input, high, low, stride));
        return (high, low);
    }

    private readonly record struct ProductArguments(
        Tensor Output, Tensor Input, Tensor Bias, Tensor Ids, WeightView Weight, nint Order, nint Starts, int Vectors, int Early);

    private readonly record struct GatingArguments(Tensor Output, Tensor Both, Tensor Input, Weight Weight, Tensor Ids);

    private readonly record struct SinglesArguments(Tensor Output, Tensor Input, Tensor Bias, Tensor Ids, WeightView Weight);

    private readonly record struct GroupArguments(Tensor Ids, nint Order, nint Starts, nint Tiles, int Experts, int TileRows);

    private readonly record struct PackArguments(Tensor Input, nint High, nint Low, int Stride);

    private readonly record struct TileArguments(
        Tensor Output, Tensor Bias, WeightView Weight, nint High, nint Low, nint Order, nint Tiles, nint GatedHigh, nint GatedLow, int Rows, int TopK, int GatedStride);

    private readonly record struct BiasArguments(Tensor Output, Tensor Bias);

    private readonly record struct RestoreArguments(WeightView Weight, nint To);
}
