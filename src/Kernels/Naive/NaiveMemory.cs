using System.Runtime.CompilerServices;

namespace XDeepServe.Kernels.Naive;

/// <summary>Element access to tensors in host memory, one value at a time.</summary>
internal static unsafe class NaiveMemory
{
    /// <summary>Reads an F32 or BF16 value.</summary>
    public static float Get(this Tensor tensor, int row, long column) => tensor.Type switch
    {
        ElementType.F32 => ((float*)tensor.Address)[(long)row * tensor.Stride + column],
        ElementType.BF16 => BFloat16.ToSingle(((ushort*)tensor.Address)[(long)row * tensor.Stride + column]),
        _ => throw new ArgumentException($"A tensor of {tensor.Type} holds no real numbers."),
    };

    /// <summary>Writes an F32 or BF16 value.</summary>
    public static void Set(this Tensor tensor, int row, long column, double value)
    {
        if (tensor.Type == ElementType.F32)
            ((float*)tensor.Address)[(long)row * tensor.Stride + column] = (float)value;
        else if (tensor.Type == ElementType.BF16)
            ((ushort*)tensor.Address)[(long)row * tensor.Stride + column] = BFloat16.FromSingle((float)value);
        else
            throw new ArgumentException($"A tensor of {tensor.Type} holds no real numbers.");
    }

    /// <summary>An I32 value, to read or write.</summary>
    public static ref int Int(this Tensor tensor, int row, int column = 0)
    {
        if (tensor.Type != ElementType.I32)
            throw new ArgumentException($"A tensor of {tensor.Type} holds no integers.");
        return ref Unsafe.AsRef<int>((int*)tensor.Address + (long)row * tensor.Stride + column);
    }

    /// <summary>A row of F32 values.</summary>
    public static Span<float> Floats(this Tensor tensor, int row) =>
        new((float*)tensor.Address + (long)row * tensor.Stride, tensor.Columns);
}
