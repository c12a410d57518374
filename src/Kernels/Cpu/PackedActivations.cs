using System.Runtime.Intrinsics;

namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// Quantises input rows for the integer product: blocks of 32 values become integers in 16 bits and one scale. The rows of a
/// tile of height h lie interleaved, for each block: h scales, h sums of the restored values, then for each pair of columns h x 2
/// integers. For weights in <see cref="ElementType.I8"/> a whole row has one scale and integers up to 127.
/// </summary>
/// <param name="rows">Which rows, in which tiles.</param>
/// <param name="source">F32 rows.</param>
/// <param name="target">Receives <see cref="BlockBytes"/> per place and block.</param>
/// <param name="blocks">Blocks in a row.</param>
/// <param name="signedBytes">Whether the integers must fit into signed bytes, with one scale a row.</param>
/// <param name="allAtOnce">One part does every tile, instead of one tile a part.</param>
internal readonly unsafe struct PackedActivations(ProductRows rows, Tensor source, byte* target, int blocks, bool signedBytes, bool allAtOnce) : IPoolWork
{
    /// <summary>Bytes of one place's block: a scale, a sum and 32 integers.</summary>
    public const int BlockBytes = 2 * sizeof(float) + ElementTypes.BlockLength * sizeof(short);

    /// <inheritdoc/>
    public void Execute(int part, int worker)
    {
        int end = allAtOnce ? rows.Tiles : part + 1;
        for (int tile = part; tile < end; tile++)
        {
            (int place, int height) = rows.Tile(tile);
            byte* record = target + (long)place * blocks * BlockBytes;
            for (int lane = 0; lane < height; lane++)
                Quantise((float*)source.Address + (long)rows.Input(place + lane) * source.Stride, record, lane, height);
        }
    }

    private void Quantise(float* values, byte* record, int lane, int height)
    {
        float ofRow = 0;
        for (int block = 0; signedBytes && block < blocks; block++)
            ofRow = MathF.Max(ofRow, Largest(Vector512.Load(values + block * 32), Vector512.Load(values + block * 32 + 16)));
        // Adding 1.5 x 2^23 rounds a small number to an integer, ties to even, in the lowest bits of the sum.
        const int MagicBits = 0x4B400000;
        Vector512<float> magic = Vector512.Create(BitConverter.Int32BitsToSingle(MagicBits));
        int* integers = stackalloc int[ElementTypes.BlockLength / 2]; // 16 bits each
        for (int block = 0; block < blocks; block++, values += ElementTypes.BlockLength, record += height * BlockBytes)
        {
            Vector512<float> low = Vector512.Load(values), high = Vector512.Load(values + 16);
            float largest = signedBytes ? ofRow : Largest(low, high), most = signedBytes ? Quantization.LargestByte : short.MaxValue;
            float scale = largest / most, inverse = largest == 0 ? 0 : most / largest;
            Vector512<int> first = (low * inverse + magic).AsInt32(), second = (high * inverse + magic).AsInt32();
            // Their lowest 16 bits, those of the sum's too, are the integer's.
            Vector512.Narrow(first, second).AsInt32().Store(integers);
            ((float*)record)[lane] = scale;
            ((float*)record)[height + lane] = scale * Vector512.Sum(first - Vector512.Create(MagicBits) + (second - Vector512.Create(MagicBits)));
            int* pairs = (int*)record + 2 * height + lane;
            for (int pair = 0; pair < ElementTypes.BlockLength / 2; pair++)
                pairs[pair * height] = integers[pair];
        }
    }

    private static float Largest(Vector512<float> low, Vector512<float> high)
    {
        Vector512<float> most = Vector512.Max(Vector512.Abs(low), Vector512.Abs(high));
        Vector256<float> most8 = Vector256.Max(most.GetLower(), most.GetUpper());
        Vector128<float> most4 = Vector128.Max(most8.GetLower(), most8.GetUpper());
        return MathF.Max(MathF.Max(most4[0], most4[1]), MathF.Max(most4[2], most4[3]));
    }
}
