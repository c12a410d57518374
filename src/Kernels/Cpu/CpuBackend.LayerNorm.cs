using System.Runtime.Intrinsics;

namespace XDeepServe.Kernels.Cpu;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    public override void LayerNorm(Tensor output, Tensor input, Tensor gain, Tensor bias, float epsilon)
    {
        OverRows(input.Rows, (long)input.Rows * input.Columns, new CenteredNorm(output, input, gain, bias, epsilon));
        Finish(output);
    }

    private readonly struct CenteredNorm(Tensor output, Tensor input, Tensor gain, Tensor bias, float epsilon) : IRowWork
    {
        public void Row(int row, int worker)
        {
            int width = gain.Columns;
            for (int start = 0; start < input.Columns; start += width)
            {
                float* source = Floats(input, row) + start;
                float* target = Floats(output, row) + start;
                float mean = VectorMath.Sum(source, width) / width;
                int i = 0;
                for (; i <= width - 16; i += 16)
                    (Vector512.Load(source + i) - Vector512.Create(mean)).Store(target + i);
                for (; i < width; i++)
                    target[i] = source[i] - mean;
                float factor = 1 / MathF.Sqrt(VectorMath.Dot(target, target, width) / width + epsilon);
                VectorMath.Scale(target, factor, width);
                VectorMath.Multiply(target, Floats(gain), width);
                if (!bias.IsEmpty)
                    VectorMath.Add(target, Floats(bias), width);
            }
        }
    }
}
