using System.Runtime.InteropServices;

namespace XDeepServe.Kernels.Naive;

/// <summary>
/// The twin that tests compare against: every operation as its definition reads, one value at a time, sums in double.
/// Far too slow to serve with.
/// </summary>
public sealed unsafe partial class NaiveBackend : Backend
{
    private readonly Queue<byte[]> downloads = [];

    /// <inheritdoc/>
    public override string Description => "naive reference (1 thread)";

    /// <inheritdoc/>
    public override Arena CreateArena(long bytes)
    {
        void* memory = NativeMemory.AlignedAlloc((nuint)Math.Max(bytes, 64), 64);
        NativeMemory.Clear(memory, (nuint)Math.Max(bytes, 64));
        return new Arena((nint)memory, bytes, () => NativeMemory.AlignedFree(memory));
    }

    /// <inheritdoc/>
    public override void Upload<T>(Tensor destination, ReadOnlySpan<T> source) =>
        source.CopyTo(new Span<T>((void*)destination.Address, source.Length));

    /// <inheritdoc/>
    public override void Download<T>(Tensor source, Span<T> destination) =>
        new ReadOnlySpan<T>((void*)source.Address, destination.Length).CopyTo(destination);

    /// <inheritdoc/>
    public override bool TryBeginDownload<T>(Tensor source, int count)
    {
        if (downloads.Count == 2)
            return false;
        downloads.Enqueue(new ReadOnlySpan<byte>((void*)source.Address, count * sizeof(T)).ToArray());
        return true;
    }

    /// <summary>Never before it is asked for: whoever can launch something meanwhile does.</summary>
    public override bool DownloadIsHere => false;

    /// <inheritdoc/>
    public override void EndDownload<T>(Span<T> destination) => MemoryMarshal.Cast<byte, T>(downloads.Dequeue()).CopyTo(destination);

    /// <inheritdoc/>
    public override void Synchronize()
    {
    }

    /// <inheritdoc/>
    public override void GatherTokens(Tensor ids, Tensor tokens, Tensor slots, Tensor positions)
    {
        for (int i = 0; i < ids.Rows; i++)
            ids.Int(i) = tokens.Int(slots.Int(i), positions.Int(i));
    }

    /// <inheritdoc/>
    public override void Embed(Tensor output, Weight table, Tensor ids)
    {
        for (int i = 0; i < ids.Rows; i++)
            ((NaiveWeight)table).Row(0, ids.Int(i)).CopyTo(output.Floats(i));
    }

    /// <inheritdoc/>
    public override void GatherRows(Tensor output, Tensor input, Tensor rows)
    {
        for (int i = 0; i < rows.Rows; i++)
            input.Floats(rows.Int(i)).CopyTo(output.Floats(i));
    }

    /// <inheritdoc/>
    public override void Copy(Tensor output, Tensor input)
    {
        for (int row = 0; row < input.Rows; row++)
            input.Floats(row).CopyTo(output.Floats(row));
    }

    /// <inheritdoc/>
    public override void RmsNorm(Tensor output, Tensor input, Tensor gain, float epsilon)
    {
        int width = gain.Columns;
        for (int row = 0; row < input.Rows; row++)
        {
            for (int start = 0; start < input.Columns; start += width)
            {
                double squares = 0;
                for (int i = 0; i < width; i++)
                    squares += (double)input.Get(row, start + i) * input.Get(row, start + i);
                double factor = 1 / Math.Sqrt(squares / width + epsilon);
                for (int i = 0; i < width; i++)
                    output.Set(row, start + i, input.Get(row, start + i) * factor * gain.Get(0, i));
            }
        }
    }

    /// <inheritdoc/>
    public override void LayerNorm(Tensor output, Tensor input, Tensor gain, Tensor bias, float epsilon)
    {
        int width = gain.Columns;
        for (int row = 0; row < input.Rows; row++)
        {
            for (int start = 0; start < input.Columns; start += width)
            {
                float[] values = input.Floats(row).Slice(start, width).ToArray();
                double mean = values.Average(value => (double)value);
                double factor = 1 / Math.Sqrt(values.Average(value => (value - mean) * (value - mean)) + epsilon);
                for (int i = 0; i < width; i++)
                    output.Set(row, start + i, (values[i] - mean) * factor * gain.Get(0, i) + (bias.IsEmpty ? 0 : bias.Get(0, i)));
            }
        }
    }

    /// <inheritdoc/>
    public override void AddRmsNorm(Tensor output, Tensor residual, Tensor delta, Tensor gain, float epsilon)
    {
        Add(residual, delta);
        RmsNorm(output, residual, gain, epsilon);
    }

    /// <inheritdoc/>
    public override void Add(Tensor residual, Tensor delta)
    {
        for (int row = 0; row < residual.Rows; row++)
            for (int i = 0; i < residual.Columns; i++)
                residual.Set(row, i, residual.Get(row, i) + delta.Get(row, i));
    }

    /// <inheritdoc/>
    public override void Rope(Tensor values, Tensor positions, Tensor table, int headWidth, int start, bool interleaved)
    {
        int half = table.Columns / 2;
        for (int row = 0; row < values.Rows; row++)
        {
            for (int head = start; head < values.Columns; head += headWidth)
            {
                for (int i = 0; i < half; i++)
                {
                    int first = head + (interleaved ? 2 * i : i);
                    int second = interleaved ? first + 1 : first + half;
                    double cosine = table.Get(positions.Int(row), i), sine = table.Get(positions.Int(row), half + i);
                    double a = values.Get(row, first), b = values.Get(row, second);
                    values.Set(row, first, a * cosine - b * sine);
                    values.Set(row, second, b * cosine + a * sine);
                }
            }
        }
    }

    /// <inheritdoc/>
    public override void Linear(Tensor output, Tensor input, Weight weight, Tensor bias = default)
    {
        if (weight is StackedWeight stack)
        {
            Stacked(output, input, stack, bias);
            return;
        }
        for (int row = 0; row < input.Rows; row++)
        {
            ReadOnlySpan<float> from = Input(input.Floats(row), weight.Type);
            for (int i = 0; i < weight.Rows; i++)
                output.Set(row, i, Dot(from, ((NaiveWeight)weight).Row(0, i)) + (bias.IsEmpty ? 0 : bias.Get(0, i)));
        }
    }

    /// <inheritdoc/>
    public override void GroupedLinear(Tensor output, Tensor input, Weight weight, Tensor ids)
    {
        for (int token = 0; token < ids.Rows; token++)
        {
            for (int k = 0; k < ids.Columns; k++)
            {
                int row = token * ids.Columns + k;
                ReadOnlySpan<float> from = Input(input.Floats(input.Rows == ids.Rows ? token : row), weight.Type);
                for (int i = 0; i < weight.Rows; i++)
                    output.Set(row, i, Dot(from, ((NaiveWeight)weight).Row(ids.Int(token, k), i)));
            }
        }
    }

    /// <inheritdoc/>
    public override void SwiGlu(Tensor output, Tensor input)
    {
        int width = output.Columns;
        for (int row = 0; row < output.Rows; row++)
        {
            for (int i = 0; i < width; i++)
            {
                double gate = input.Get(row, i);
                output.Set(row, i, gate / (1 + Math.Exp(-gate)) * input.Get(row, width + i));
            }
        }
    }

    /// <inheritdoc/>
    public override void Gelu(Tensor output, Tensor input, GeluForm form)
    {
        for (int row = 0; row < output.Rows; row++)
        {
            for (int i = 0; i < output.Columns; i++)
            {
                double x = input.Get(row, i);
                output.Set(row, i, x * form switch
                {
                    GeluForm.Exact => (1 + Erf(x / Math.Sqrt(2))) / 2,
                    GeluForm.Tanh => (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x))) / 2,
                    GeluForm.Quick => 1 / (1 + Math.Exp(-1.702 * x)),
                    _ => throw new ArgumentOutOfRangeException(nameof(form), form, "Unknown form of GELU."),
                });
            }
        }
    }

    /// <inheritdoc/>
    public override void CombineExperts(Tensor output, Tensor rows, Tensor gates, Tensor shared = default)
    {
        for (int token = 0; token < output.Rows; token++)
        {
            for (int i = 0; i < output.Columns; i++)
            {
                double sum = 0;
                for (int k = 0; k < gates.Columns; k++)
                    sum += (double)gates.Get(token, k) * rows.Get(token * gates.Columns + k, i);
                output.Set(token, i, sum + (shared.IsEmpty ? 0 : shared.Get(token, i)));
            }
        }
    }

    /// <inheritdoc/>
    protected override void Release()
    {
    }

    /// <summary>The error function by its power series, whose terms cancel too much beyond 5; there it is 1 to double precision.</summary>
    private static double Erf(double x)
    {
        if (Math.Abs(x) > 5)
            return Math.Sign(x);
        double sum = 0, term = x;
        for (int n = 0; n < 120; n++)
        {
            sum += term / (2 * n + 1);
            term *= -x * x / (n + 1);
        }
        return 2 / Math.Sqrt(Math.PI) * sum;
    }

    private static double Dot(ReadOnlySpan<float> left, ReadOnlySpan<float> right)
    {
        double sum = 0;
        for (int i = 0; i < left.Length; i++)
            sum += (double)left[i] * right[i];
        return sum;
    }
}
