using System.Runtime.Intrinsics;

namespace XDeepServe.Kernels.Cpu;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    public override void Gelu(Tensor output, Tensor input, GeluForm form)
    {
        OverRows(output.Rows, 8L * output.Rows * output.Columns, new Bend(output, input, form));
        Finish(output);
    }

    private readonly struct Bend(Tensor output, Tensor input, GeluForm form) : IRowWork
    {
        public void Row(int row, int worker)
        {
            float* source = Floats(input, row);
            float* target = Floats(output, row);
            int i = 0;
            for (; i <= output.Columns - 16; i += 16)
            {
                Vector512<float> x = Vector512.Load(source + i);
                (x * Share(x)).Store(target + i);
            }
            // The rest goes through the same formula, so that a value's result does not depend on its place.
            float* rest = stackalloc float[16];
            for (int k = i; k < output.Columns; k++)
                rest[k - i] = source[k];
            if (i < output.Columns)
            {
                Vector512<float> x = Vector512.Load(rest);
                (x * Share(x)).Store(rest);
            }
            for (int k = i; k < output.Columns; k++)
                target[k] = rest[k - i];
        }

        /// <summary>How much of each value passes.</summary>
        private Vector512<float> Share(Vector512<float> x) => form switch
        {
            GeluForm.Exact => (Vector512<float>.One + Erf(x * 0.70710678f)) * 0.5f,
            GeluForm.Tanh => Sigmoid((x + x * x * x * 0.044715f) * 1.5957691f), // (1 + tanh(u)) / 2 = sigmoid(2u)
            GeluForm.Quick => Sigmoid(x * 1.702f),
            _ => throw new InvalidOperationException($"There is no form {form} of GELU."),
        };

        private static Vector512<float> Sigmoid(Vector512<float> x) => Vector512<float>.One / (Vector512<float>.One + Vector512.Exp(-x));

        /// <summary>The error function by the rational approximation 7.1.26 of Abramowitz and Stegun, within 1.5e-7.</summary>
        private static Vector512<float> Erf(Vector512<float> x)
        {
            Vector512<float> size = Vector512.Abs(x);
            Vector512<float> t = Vector512<float>.One / (Vector512<float>.One + size * 0.3275911f);
            Vector512<float> sum = t * (Vector512.Create(0.254829592f) + t * (Vector512.Create(-0.284496736f)
                + t * (Vector512.Create(1.421413741f) + t * (Vector512.Create(-1.453152027f) + t * 1.061405429f))));
            Vector512<float> erf = Vector512<float>.One - sum * Vector512.Exp(-size * size);
            return Vector512.CopySign(erf, x);
        }
    }
}
