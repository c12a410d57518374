namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// Which input row meets which matrix and where the result goes. Places are numbered matrix by matrix; within a matrix they
/// form tiles of 8, then 4, then single rows.
/// </summary>
/// <param name="starts"><c>[matrices + 1]</c>: first place of each matrix, then the number of places.</param>
/// <param name="used"><c>[active]</c>: matrices that have places.</param>
/// <param name="order"><c>[places]</c>: output row of each place; null if they are the same.</param>
/// <param name="active">Matrices that have places.</param>
/// <param name="share">Output rows that share one input row.</param>
internal readonly unsafe struct ProductRows(int* starts, int* used, int* order, int active, int share)
{
    /// <summary>First place of each matrix.</summary>
    public int* Starts => starts;

    /// <summary>Matrices that have places.</summary>
    public int* Used => used;

    /// <summary>How many matrices have places.</summary>
    public int Active => active;

    /// <summary>Number of places.</summary>
    public int Total => Starts[Used[Active - 1] + 1];

    /// <summary>Most places of a matrix.</summary>
    public int Tallest
    {
        get
        {
            int most = 0;
            for (int i = 0; i < Active; i++)
                most = Math.Max(most, Starts[Used[i] + 1] - Starts[Used[i]]);
            return most;
        }
    }

    /// <summary>Number of tiles over all matrices.</summary>
    public int Tiles
    {
        get
        {
            int tiles = 0;
            for (int i = 0; i < Active; i++)
                tiles += TilesOf(Starts[Used[i] + 1] - Starts[Used[i]]);
            return tiles;
        }
    }

    /// <summary>Output row of a place.</summary>
    public int Output(int place) => order == null ? place : order[place];

    /// <summary>Input row of a place.</summary>
    public int Input(int place) => Output(place) / share;

    /// <summary>Height of the tile that begins with <paramref name="rest"/> places left in its matrix.</summary>
    public static int TileHeight(int rest) => rest >= 8 ? 8 : rest >= 4 ? 4 : 1;

    /// <summary>First place and height of a tile, counted over all matrices.</summary>
    public (int Place, int Height) Tile(int tile)
    {
        for (int i = 0; i < Active; i++)
        {
            int count = Starts[Used[i] + 1] - Starts[Used[i]];
            int tiles = TilesOf(count);
            if (tile >= tiles)
            {
                tile -= tiles;
                continue;
            }
            int eights = count / 8;
            if (tile < eights)
                return (Starts[Used[i]] + tile * 8, 8);
            int place = eights * 8;
            for (tile -= eights; tile > 0; tile--)
                place += TileHeight(count - place);
            return (Starts[Used[i]] + place, TileHeight(count - place));
        }
        throw new ArgumentOutOfRangeException(nameof(tile));
    }

    private static int TilesOf(int count) => count / 8 + count % 8 / 4 + count % 4;
}
