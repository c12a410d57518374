using System.Runtime.InteropServices;
using XDeepServe.Kernels;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models.Calibrating;

/// <summary>Records, while a model runs, the largest magnitude that each input column of each projection had.</summary>
public sealed unsafe class InputRanges : ProductObserver
{
    private readonly Dictionary<nint, string> names = [];
    private readonly Dictionary<Weight, Range[]> ranges = []; // one for each group
    private readonly List<Range> experts = [];
    private readonly Dictionary<string, Range> byName = new(StringComparer.Ordinal);

    /// <summary>Prepares to recognise the tensors of a checkpoint.</summary>
    public InputRanges(Checkpoint checkpoint)
    {
        foreach (string name in checkpoint.Names)
            if (checkpoint.TryGet(name, out StoredTensor? tensor))
                names[tensor.Address] = name;
    }

    /// <summary>Largest magnitudes that the inputs of a projection had, a value a column; null if it never ran.</summary>
    public float[]? Of(string name) => byName.TryGetValue(name, out Range? range) && range.Windows > 0 ? range.Largest : null;

    /// <summary>The least number of windows in which any expert had an input; null if there are no experts.</summary>
    public int? LeastWindows => experts.Count == 0 ? null : experts.Min(range => range.Windows);

    /// <summary>Begins a window.</summary>
    public void BeginWindow()
    {
        foreach (Range range in byName.Values)
            range.Seen = false;
    }

    /// <inheritdoc/>
    public override void Prepared(Weight weight, WeightSource source)
    {
        var groups = new Range[source.Groups];
        int row = 0;
        foreach (WeightPiece piece in source.Pieces)
        {
            int group = row / source.Rows;
            groups[group] ??= new Range(source.Columns);
            if (names.TryGetValue(piece.Address, out string? name))
                byName[name] = groups[group];
            row += piece.Rows;
        }
        ranges[weight] = groups;
        if (source.Groups > 1)
            experts.AddRange(groups);
    }

    /// <inheritdoc/>
    public override void Multiplies(Weight weight, Tensor input, Tensor ids)
    {
        if (!ranges.TryGetValue(weight, out Range[]? groups))
            return;
        if (ids.IsEmpty)
        {
            for (int row = 0; row < input.Rows; row++)
                groups[0].Add(Row(input, row));
            return;
        }
        for (int i = 0; i < ids.Rows * ids.Columns; i++)
        {
            int group = ((int*)ids.Address)[(long)(i / ids.Columns) * ids.Stride + i % ids.Columns];
            groups[group].Add(Row(input, input.Rows == ids.Rows ? i / ids.Columns : i));
        }
    }

    private static ReadOnlySpan<float> Row(Tensor input, int row) => MemoryMarshal.Cast<byte, float>(
        new ReadOnlySpan<byte>((byte*)input.Slice(row, 1).Address, input.Columns * sizeof(float)));

    private sealed class Range(int columns)
    {
        public float[] Largest { get; } = new float[columns];

        public int Windows { get; private set; }

        public bool Seen { get; set; }

        public void Add(ReadOnlySpan<float> values)
        {
            if (!Seen)
                Windows++;
            Seen = true;
            for (int i = 0; i < values.Length; i++)
                Largest[i] = MathF.Max(Largest[i], MathF.Abs(values[i]));
        }
    }
}
