using System.Runtime.Intrinsics;

namespace XDeepServe.Kernels.Cpu;

/// <summary>The tile of <see cref="Avx512Tile"/> for processors without AVX2: four output rows at a time, in 128-bit vectors.</summary>
internal static unsafe class PortableTile
{
    /// <summary>Any number of input rows.</summary>
    public static void Any(byte* tile, byte* activations, int blocks, int height, float* results)
    {
        for (int lane = 0; lane < height; lane++)
            for (int row = 0; row < PackedWeight.TileRows; row += 4)
                Rows(tile, activations, blocks, height, lane, row).Store(results + lane * PackedWeight.TileRows + row);
    }

    private static Vector128<float> Rows(byte* tile, byte* activations, int blocks, int height, int lane, int row)
    {
        Vector128<float> sum = Vector128<float>.Zero;
        for (int block = 0; block < blocks; block++, tile += PackedWeight.RecordBytes, activations += height * PackedActivations.BlockBytes)
        {
            int* pairs = (int*)activations + height + lane;
            Vector128<int> integers = Vector128<int>.Zero;
            for (int pair = 0; pair < ElementTypes.BlockLength / 2; pair++, pairs += height)
            {
                // Four rows x two columns of signed bytes become four integers with a column in each half.
                Vector128<int> weights = Vector128.WidenLower(
                    Vector128.CreateScalarUnsafe(*(long*)(tile + PackedWeight.TileRows * 2 + pair * 32 + row * 2)).AsSByte()).AsInt32();
                integers += ((weights << 16) >> 16) * (short)*pairs + (weights >> 16) * (*pairs >> 16);
            }
            Half* halves = (Half*)tile + row;
            Vector128<float> scales = Vector128.Create((float)halves[0], (float)halves[1], (float)halves[2], (float)halves[3]);
            sum += Vector128.ConvertToSingle(integers) * (scales * ((float*)activations)[lane]);
        }
        return sum;
    }
}
