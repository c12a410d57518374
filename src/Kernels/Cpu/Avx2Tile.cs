using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace XDeepServe.Kernels.Cpu;

/// <summary>The tile of <see cref="Avx512Tile"/> with 256-bit vectors: its two halves of eight output rows one behind the other.</summary>
internal static unsafe class Avx2Tile
{
    private const int Pairs = ElementTypes.BlockLength / 2;
    private const int Scales = PackedWeight.TileRows * 2;

    /// <summary>One input row.</summary>
    public static void One(byte* tile, byte* activations, int blocks, float* results)
    {
        Vector256<float> low = Vector256<float>.Zero, high = low;
        for (int block = 0; block < blocks; block++, tile += PackedWeight.RecordBytes, activations += PackedActivations.BlockBytes)
        {
            int* pairs = (int*)activations + 1;
            Vector256<int> lowSum = Vector256<int>.Zero, highSum = lowSum;
            for (int pair = 0; pair < Pairs; pair++)
            {
                lowSum += Product(Weights(tile, pair, 0), pairs[pair]);
                highSum += Product(Weights(tile, pair, 8), pairs[pair]);
            }
            low += Vector256.ConvertToSingle(lowSum) * (HalfScales(tile, 0) * *(float*)activations);
            high += Vector256.ConvertToSingle(highSum) * (HalfScales(tile, 8) * *(float*)activations);
        }
        low.Store(results);
        high.Store(results + 8);
    }

    /// <summary>Four or eight input rows, four at a time.</summary>
    public static void Many(byte* tile, byte* activations, int blocks, int height, float* results)
    {
        for (int lane = 0; lane < height; lane += 4)
        {
            Four(tile, activations, blocks, height, lane, 0, results + lane * PackedWeight.TileRows);
            Four(tile, activations, blocks, height, lane, 8, results + lane * PackedWeight.TileRows);
        }
    }

    private static void Four(byte* tile, byte* activations, int blocks, int height, int lane, int row, float* results)
    {
        Vector256<float> s0 = Vector256<float>.Zero, s1 = s0, s2 = s0, s3 = s0;
        for (int block = 0; block < blocks; block++, tile += PackedWeight.RecordBytes, activations += height * PackedActivations.BlockBytes)
        {
            int* pairs = (int*)activations + height + lane;
            Vector256<int> i0 = Vector256<int>.Zero, i1 = i0, i2 = i0, i3 = i0;
            for (int pair = 0; pair < Pairs; pair++, pairs += height)
            {
                Vector256<short> weights = Weights(tile, pair, row);
                i0 += Product(weights, pairs[0]);
                i1 += Product(weights, pairs[1]);
                i2 += Product(weights, pairs[2]);
                i3 += Product(weights, pairs[3]);
            }
            Vector256<float> scales = HalfScales(tile, row);
            float* factors = (float*)activations + lane;
            s0 += Vector256.ConvertToSingle(i0) * (scales * factors[0]);
            s1 += Vector256.ConvertToSingle(i1) * (scales * factors[1]);
            s2 += Vector256.ConvertToSingle(i2) * (scales * factors[2]);
            s3 += Vector256.ConvertToSingle(i3) * (scales * factors[3]);
        }
        s0.Store(results + row);
        s1.Store(results + 16 + row);
        s2.Store(results + 32 + row);
        s3.Store(results + 48 + row);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<short> Weights(byte* tile, int pair, int row) =>
        Avx2.ConvertToVector256Int16((sbyte*)tile + Scales + pair * 32 + row * 2);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Product(Vector256<short> weights, int pair) =>
        Avx2.MultiplyAddAdjacent(weights, Vector256.Create(pair).AsInt16());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> HalfScales(byte* tile, int row)
    {
        Vector256<uint> half = Avx2.ConvertToVector256Int32((ushort*)tile + row).AsUInt32();
        Vector256<float> magnitude = ((half & Vector256.Create(0x7FFFu)) << 13).AsSingle() * BitConverter.UInt32BitsToSingle(0x77800000);
        return (magnitude.AsUInt32() | (half & Vector256.Create(0x8000u)) << 16).AsSingle();
    }
}
