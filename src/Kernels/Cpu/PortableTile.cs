using System.Runtime.Intrinsics;

namespace XDeepServe.Kernels.Cpu;

/// <summary>The tile of <see cref="Avx512Tile"/> for processors without AVX2: four output rows at a time, in 128-bit vectors.</summary>
internal static unsafe class PortableTile
{
    /// <summary>Any number of input rows.</summary>
    public static void Any<TRecord>(byte* record, byte* activations, int count, int height, float* results) where TRecord : struct, IRecord
    {
        for (int lane = 0; lane < height; lane++)
            for (int row = 0; row < TileLayout.Rows; row += 4)
                Rows<TRecord>(record, activations, count, height, lane, row, results + lane * TileLayout.Rows + row);
    }

    private static void Rows<TRecord>(byte* record, byte* activations, int count, int height, int lane, int row, float* results) where TRecord : struct, IRecord
    {
        Vector128<float> sum = Vector128.Load(results);
        int pairsPerPart = TileLayout.Pairs / TRecord.Parts;
        for (int i = 0; i < count; i++, record += TRecord.Bytes, activations += height * PackedActivations.BlockBytes)
        {
            float* factors = (float*)activations + lane;
            int* pairs = (int*)activations + 2 * height + lane;
            for (int part = 0; part < TRecord.Parts; part++)
            {
                Vector128<int> integers = Vector128<int>.Zero;
                for (int pair = part * pairsPerPart; pair < (part + 1) * pairsPerPart; pair++, pairs += height)
                {
                    // Four rows x two columns of signed bytes become four integers with a column in each half.
                    Vector128<int> weights = Vector128.WidenLower(
                        Vector128.CreateScalarUnsafe(*(long*)(record + TRecord.WeightsAt + pair * 32 + row * 2)).AsSByte()).AsInt32();
                    integers += ((weights << 16) >> 16) * (short)*pairs + (weights >> 16) * (*pairs >> 16);
                }
                Vector256<float> eight = TRecord.Scales(record, part, row & 8);
                sum = Vector128.FusedMultiplyAdd(Vector128.ConvertToSingle(integers), (row % 8 == 0 ? eight.GetLower() : eight.GetUpper()) * factors[0], sum);
            }
            if (TRecord.HasMinimums)
                sum -= Vector128.Load((float*)record + TileLayout.Rows + row) * factors[height];
        }
        sum.Store(results);
    }
}
