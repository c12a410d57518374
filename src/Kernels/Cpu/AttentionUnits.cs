namespace XDeepServe.Kernels.Cpu;

/// <summary>Cuts a step's attention into parts: a few rows of one sequence times one of the <paramref name="perTile"/> head units.</summary>
internal readonly unsafe struct AttentionUnits(PagedBatch batch, int tileRows, int perTile)
{
    /// <summary>The step.</summary>
    public PagedBatch Batch => batch;

    /// <summary>Number of parts.</summary>
    public int Count
    {
        get
        {
            int tiles = 0;
            for (int sequence = 0; sequence < batch.Sequences; sequence++)
                tiles += Tiles(sequence);
            return tiles * perTile;
        }
    }

    /// <summary>A part: sequence, rows and head unit. The longest contexts of a sequence come first, so that none is left for the end.</summary>
    public (int Sequence, int FirstRow, int EndRow, int Unit) this[int part]
    {
        get
        {
            int tile = part / perTile;
            for (int sequence = 0; sequence < batch.Sequences; sequence++)
            {
                int tiles = Tiles(sequence);
                if (tile < tiles)
                {
                    int first = Start(sequence) + (tiles - 1 - tile) * tileRows;
                    return (sequence, first, Math.Min(first + tileRows, Start(sequence + 1)), part % perTile);
                }
                tile -= tiles;
            }
            throw new ArgumentOutOfRangeException(nameof(part));
        }
    }

    private int Start(int sequence) => ((int*)batch.QueryStarts.Address)[(long)sequence * batch.QueryStarts.Stride];

    private int Tiles(int sequence) => (Start(sequence + 1) - Start(sequence) + tileRows - 1) / tileRows;
}
