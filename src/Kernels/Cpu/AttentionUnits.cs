namespace XDeepServe.Kernels.Cpu;

/// <summary>Cuts a step's attention into parts: a few rows of one sequence times one of the <paramref name="perTile"/> head units.</summary>
internal readonly unsafe struct AttentionUnits(PagedBatch batch, int tileRows, int perTile)
{
    /// <summary>The step.</summary>
    public PagedBatch Batch => batch;

    /// <summary>Number of parts.</summary>
    public int Count => AllTiles() * perTile;

    /// <summary>
    /// A part: sequence, rows and head unit. A unit's parts are neighbours, so that its keys and values stay in the second-level cache; the
    /// longest contexts of a sequence come first, so that none is left for the end.
    /// </summary>
    public (int Sequence, int FirstRow, int EndRow, int Unit) this[int part]
    {
        get
        {
            int all = AllTiles(), tile = part % all;
            for (int sequence = 0; sequence < batch.Sequences; sequence++)
            {
                int tiles = Tiles(sequence);
                if (tile < tiles)
                {
                    int first = Start(sequence) + (tiles - 1 - tile) * tileRows;
                    return (sequence, first, Math.Min(first + tileRows, Start(sequence + 1)), part / all);
                }
                tile -= tiles;
            }
            throw new ArgumentOutOfRangeException(nameof(part));
        }
    }

    private int AllTiles()
    {
        int tiles = 0;
        for (int sequence = 0; sequence < batch.Sequences; sequence++)
            tiles += Tiles(sequence);
        return tiles;
    }

    private int Start(int sequence) => ((int*)batch.QueryStarts.Address)[(long)sequence * batch.QueryStarts.Stride];

    private int Tiles(int sequence) => (Start(sequence + 1) - Start(sequence) + tileRows - 1) / tileRows;
}
