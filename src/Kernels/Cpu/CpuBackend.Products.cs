namespace XDeepServe.Kernels.Cpu;

public sealed unsafe partial class CpuBackend
{
    private const int PartBytes = 256 * 1024;     // least weight bytes in a part of a narrow product: each start of a stream costs
    private const int WideTiles = 4;              // tiles in a part of a wide product: they stay in the second-level cache

    /// <inheritdoc/>
    public override Weight Prepare(WeightSource source, ElementType target)
    {
        Weight weight = Take(source, target);
        Observer?.Prepared(weight, source);
        return weight;
    }

    private Weight Take(WeightSource source, ElementType target)
    {
        if (!target.Fits(source.Columns) || !Quantization.CanStore(target))
            target = source.Type;
        if (TileLayout.Packs(target) && source.Columns % ElementTypes.BlockLength == 0)
            return PackedWeight.Pack(source, target, pool);
        bool keep = source.Type.IsPlain() && target != ElementType.F32;
        return RowWeight.Take(source, target == ElementType.F8 ? target : keep ? source.Type : ElementType.F32, pool);
    }

    /// <inheritdoc/>
    public override Backend Beside() => new CpuBackend(options with { Threads = 1, PinThreads = false });

    /// <inheritdoc/>
    public override void Replace(Weight weight, int group, Weight source, int from)
    {
        CheckAlike(weight, group, source, from);
        if (weight is PackedWeight packed)
            packed.Replace(group, (PackedWeight)source, from);
        else
            ((RowWeight)weight).Replace(group, (RowWeight)source, from);
    }

    /// <inheritdoc/>
    public override void Embed(Tensor output, Weight table, Tensor ids)
    {
        for (int i = 0; i < ids.Rows; i++)
        {
            if (table is PackedWeight packed)
                packed.Restore(*Ints(ids, i), Floats(output, i));
            else
                ((RowWeight)table).Restore(*Ints(ids, i), Floats(output, i));
        }
        Finish(output);
    }

    /// <inheritdoc/>
    public override void Linear(Tensor output, Tensor input, Weight weight, Tensor bias = default)
    {
        if (weight is StackedWeight stack)
        {
            Stacked(output, input, stack, bias);
            return;
        }
        Observer?.Multiplies(weight, input, default);
        int* starts = (int*)NativeBlock.Ensure(ref order, 4 * sizeof(int));
        starts[0] = 0;
        starts[1] = input.Rows;
        starts[2] = 0;
        Multiply(new ProductRows(starts, starts + 2, null, 1, 1), output, input, weight);
        if (!bias.IsEmpty)
            for (int row = 0; row < output.Rows; row++)
                VectorMath.Add(Floats(output, row), Floats(bias), output.Columns);
        Finish(output);
    }

    /// <inheritdoc/>
    public override void GroupedLinear(Tensor output, Tensor input, Weight weight, Tensor ids)
    {
        Observer?.Multiplies(weight, input, ids);
        int count = ids.Rows * ids.Columns;
        // [groups + 1] starts, [groups] experts in use, [count] output rows sorted by expert, [groups] cursors
        int* starts = (int*)NativeBlock.Ensure(ref order, (3L * weight.Groups + 1 + count) * sizeof(int));
        int* used = starts + weight.Groups + 1, rows = used + weight.Groups, cursors = rows + count;
        new Span<int>(starts, weight.Groups + 1).Clear();
        for (int i = 0; i < count; i++)
            starts[Ints(ids, i / ids.Columns)[i % ids.Columns] + 1]++;
        int active = 0;
        for (int group = 0; group < weight.Groups; group++)
        {
            if (starts[group + 1] > 0)
                used[active++] = group;
            starts[group + 1] += starts[group];
            cursors[group] = starts[group];
        }
        for (int i = 0; i < count; i++)
            rows[cursors[Ints(ids, i / ids.Columns)[i % ids.Columns]]++] = i;
        Multiply(new ProductRows(starts, used, rows, active, input.Rows == ids.Rows ? ids.Columns : 1), output, input, weight);
        Finish(output);
    }

    private void Multiply(ProductRows rows, Tensor output, Tensor input, Weight weight)
    {
        int total = rows.Total;
        if (total == 0)
            return;
        if (weight is RowWeight plain)
        {
            int most = Math.Max(16, (int)Math.Min(PartBytes / (plain.Columns * 2), (long)plain.Rows * rows.Active / (4 * pool.Threads)));
            int perGroup = (plain.Rows + most - 1) / most;
            pool.Run(perGroup * rows.Active, new RowProduct(rows, plain, input, output, perGroup));
            return;
        }
        PackedWeight packed = (PackedWeight)weight;
        long tokenBytes = (long)packed.RecordsPerRow * PackedActivations.BlockBytes;
        byte* packedInput = NativeBlock.Ensure(ref activations, total * tokenBytes);
        bool small = total * (long)input.Columns < SmallWork;
        pool.Run(small ? 1 : rows.Tiles, new PackedActivations(rows, input, packedInput, packed.RecordsPerRow, packed.Type == ElementType.I8, small));
        int tiles = packed.TilesPerGroup * rows.Active;
        int part = (int)Math.Max(PartBytes / packed.TileBytes, 1);
        part = Math.Max(1, Math.Min(total > 4 * rows.Active ? WideTiles : part, tiles / (3 * pool.Threads)));
        int parts = (packed.TilesPerGroup + part - 1) / part;
        long roomBytes = (long)rows.Tallest * PackedWeight.TileRows * sizeof(float);
        float* room = PackedProduct.Expands(packed.Layout, rows.Tallest) ? (float*)Scratch(roomBytes) : null;
        pool.Run(parts * rows.Active, new PackedProduct(rows, packed, packedInput, output, parts, path, room, roomBytes / sizeof(float)));
    }
}
