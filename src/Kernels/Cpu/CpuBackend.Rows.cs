using System.Runtime.Intrinsics;

namespace XDeepServe.Kernels.Cpu;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    public override void RmsNorm(Tensor output, Tensor input, Tensor gain, float epsilon)
    {
        OverRows(input.Rows, (long)input.Rows * input.Columns, new Norm(output, input, default, gain, epsilon));
        Finish(output);
    }

    /// <inheritdoc/>
    public override void AddRmsNorm(Tensor output, Tensor residual, Tensor delta, Tensor gain, float epsilon)
    {
        if (rounds)
        {
            Add(residual, delta);
            RmsNorm(output, residual, gain, epsilon);
            return;
        }
        OverRows(residual.Rows, (long)residual.Rows * residual.Columns, new Norm(output, residual, delta, gain, epsilon));
    }

    /// <inheritdoc/>
    public override void Add(Tensor residual, Tensor delta)
    {
        for (int row = 0; row < residual.Rows; row++)
            VectorMath.Add(Floats(residual, row), Floats(delta, row), residual.Columns);
        Finish(residual);
    }

    /// <inheritdoc/>
    public override void Rope(Tensor values, Tensor positions, Tensor table, int headWidth, int start, bool interleaved)
    {
        OverRows(values.Rows, (long)values.Rows * values.Columns, new Rotation(values, positions, table, headWidth, start, interleaved));
        Finish(values);
    }

    /// <inheritdoc/>
    public override void SwiGlu(Tensor output, Tensor input)
    {
        // The exponential costs as much as many multiplications: two threads pay off early.
        OverRows(output.Rows, 8L * output.Rows * output.Columns, new Gate(output, input));
        Finish(output);
    }

    /// <inheritdoc/>
    public override void CombineExperts(Tensor output, Tensor rows, Tensor gates, Tensor shared = default)
    {
        OverRows(output.Rows, (long)output.Rows * output.Columns * gates.Columns, new Combination(output, rows, gates, shared));
        Finish(output);
    }

    /// <inheritdoc/>
    public override void Route(Tensor ids, Tensor gates, Tensor logits, Tensor bias, RoutingRule rule)
    {
        long bytes = Router.ScratchBytes(logits.Columns, rule.Groups);
        byte* memory = Scratch(bytes);
        OverRows(logits.Rows, 16L * logits.Rows * logits.Columns, new Router(ids, gates, logits, bias, rule, memory, bytes));
    }

    /// <inheritdoc/>
    public override void CountExperts(Tensor counts, Tensor ids)
    {
        int* count = (int*)counts.Address;
        for (int row = 0; row < ids.Rows; row++)
        {
            int* chosen = (int*)ids.Address + (long)row * ids.Stride;
            for (int k = 0; k < ids.Columns; k++)
                count[chosen[k]]++;
        }
    }

    private readonly struct Norm(Tensor output, Tensor input, Tensor delta, Tensor gain, float epsilon) : IRowWork
    {
        public void Row(int row, int worker)
        {
            float* source = Floats(input, row);
            float* target = Floats(output, row);
            float* gains = Floats(gain);
            int width = gain.Columns;
            if (!delta.IsEmpty)
                VectorMath.Add(source, Floats(delta, row), input.Columns);
            for (int start = 0; start < input.Columns; start += width)
            {
                float factor = 1 / MathF.Sqrt(VectorMath.Dot(source + start, source + start, width) / width + epsilon);
                int i = 0;
                for (; i <= width - 16; i += 16)
                    (Vector512.Load(source + start + i) * factor * Vector512.Load(gains + i)).Store(target + start + i);
                for (; i < width; i++)
                    target[start + i] = source[start + i] * factor * gains[i];
            }
        }
    }

    private readonly struct Rotation(Tensor values, Tensor positions, Tensor table, int headWidth, int start, bool interleaved) : IRowWork
    {
        public void Row(int row, int worker)
        {
            int half = table.Columns / 2;
            float* cosines = Floats(table, *Ints(positions, row));
            float* sines = cosines + half;
            for (int head = start; head < values.Columns; head += headWidth)
            {
                float* first = Floats(values, row) + head;
                if (interleaved)
                    Pairs(first, cosines, sines, half);
                else
                    Halves(first, first + half, cosines, sines, half);
            }
        }

        private static void Pairs(float* pairs, float* cosines, float* sines, int half)
        {
            for (int i = 0; i < half; i++)
            {
                float a = pairs[2 * i], b = pairs[2 * i + 1];
                pairs[2 * i] = a * cosines[i] - b * sines[i];
                pairs[2 * i + 1] = b * cosines[i] + a * sines[i];
            }
        }

        private static void Halves(float* first, float* second, float* cosines, float* sines, int half)
        {
            int i = 0;
            for (; i <= half - 8; i += 8)
            {
                Vector256<float> a = Vector256.Load(first + i), b = Vector256.Load(second + i);
                Vector256<float> cosine = Vector256.Load(cosines + i), sine = Vector256.Load(sines + i);
                (a * cosine - b * sine).Store(first + i);
                (b * cosine + a * sine).Store(second + i);
            }
            for (; i < half; i++)
            {
                float a = first[i], b = second[i];
                first[i] = a * cosines[i] - b * sines[i];
                second[i] = b * cosines[i] + a * sines[i];
            }
        }
    }

    private readonly struct Gate(Tensor output, Tensor input) : IRowWork
    {
        public void Row(int row, int worker)
        {
            int width = output.Columns;
            float* gates = Floats(input, row);
            float* values = gates + width;
            float* target = Floats(output, row);
            int i = 0;
            for (; i <= width - 16; i += 16)
            {
                Vector512<float> gate = Vector512.Load(gates + i);
                (gate / (Vector512<float>.One + VectorMath.Exponential(-gate)) * Vector512.Load(values + i)).Store(target + i);
            }
            for (; i < width; i++)
                target[i] = gates[i] / (1 + MathF.Exp(-gates[i])) * values[i];
        }
    }

    private readonly struct Combination(Tensor output, Tensor rows, Tensor gates, Tensor shared) : IRowWork
    {
        public void Row(int row, int worker)
        {
            float* target = Floats(output, row);
            new Span<float>(target, output.Columns).Clear();
            for (int k = 0; k < gates.Columns; k++)
                VectorMath.MultiplyAdd(target, Floats(rows, row * gates.Columns + k), Floats(gates, row)[k], output.Columns);
            if (!shared.IsEmpty)
                VectorMath.Add(target, Floats(shared, row), output.Columns);
        }
    }

    private readonly struct Router(Tensor ids, Tensor gates, Tensor logits, Tensor bias, RoutingRule rule, byte* memory, long bytes) : IRowWork
    {
        public static long ScratchBytes(int experts, int groups) => (2L * experts + groups + 16) * sizeof(float);

        public void Row(int row, int worker)
        {
            int experts = logits.Columns, perGroup = experts / rule.Groups;
            float* scores = (float*)(memory + worker * bytes);
            float* biased = scores + experts;
            float* groups = biased + experts;
            float* source = Floats(logits, row);
            if (rule.Sigmoid)
                for (int i = 0; i < experts; i++)
                    scores[i] = 1 / (1 + MathF.Exp(-source[i]));
            else
                VectorMath.Scale(scores, 1 / VectorMath.Exponential(scores, source, VectorMath.Largest(source, experts), 1, experts), experts);
            for (int i = 0; i < experts; i++)
                biased[i] = scores[i] + (bias.IsEmpty ? 0 : Floats(bias)[i]);
            if (rule.TopGroups < rule.Groups)
                KeepGroups(biased, groups, perGroup);
            float sum = 0;
            for (int k = 0; k < rule.TopK; k++)
            {
                int best = VectorMath.IndexOfLargest(biased, experts);
                biased[best] = float.NegativeInfinity;
                Ints(ids, row)[k] = best;
                sum += Floats(gates, row)[k] = scores[best];
            }
            for (int k = 0; k < rule.TopK; k++)
                Floats(gates, row)[k] = (rule.Normalize ? Floats(gates, row)[k] / (sum + 1e-20f) : Floats(gates, row)[k]) * rule.Scale;
        }

        private void KeepGroups(float* biased, float* groups, int perGroup)
        {
            for (int group = 0; group < rule.Groups; group++)
            {
                float first = float.NegativeInfinity, second = float.NegativeInfinity;
                for (int i = group * perGroup; i < (group + 1) * perGroup; i++)
                {
                    if (biased[i] > first)
                        (first, second) = (biased[i], first);
                    else if (biased[i] > second)
                        second = biased[i];
                }
                groups[group] = perGroup > 1 && rule.GroupTerms > 1 ? first + second : first;
            }
            for (int chosen = 0; chosen < rule.TopGroups; chosen++)
                groups[VectorMath.IndexOfLargest(groups, rule.Groups)] = float.NaN;
            for (int group = 0; group < rule.Groups; group++)
                if (!float.IsNaN(groups[group]))
                    new Span<float>(biased + group * perGroup, perGroup).Fill(float.NegativeInfinity);
        }
    }
}
