using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// One tile of sixteen output rows by one, four or eight input rows, with 512-bit vectors: a lane is an output row, so that no
/// sum runs across lanes.
/// </summary>
internal static unsafe class Avx512Tile
{
    private const int Pairs = ElementTypes.BlockLength / 2;
    private const int Scales = PackedWeight.TileRows * 2; // bytes of the scales at the front of a record

    /// <summary>One input row.</summary>
    public static void One(byte* tile, byte* activations, int blocks, float* results)
    {
        Vector512<float> sum = Vector512<float>.Zero;
        for (int block = 0; block < blocks; block++, tile += PackedWeight.RecordBytes, activations += PackedActivations.BlockBytes)
        {
            int* pairs = (int*)activations + 1;
            Vector512<int> even = Vector512<int>.Zero, odd = Vector512<int>.Zero;
            for (int pair = 0; pair < Pairs; pair += 4)
            {
                even += Product(Weights(tile, pair), pairs[pair]);
                odd += Product(Weights(tile, pair + 1), pairs[pair + 1]);
                even += Product(Weights(tile, pair + 2), pairs[pair + 2]);
                odd += Product(Weights(tile, pair + 3), pairs[pair + 3]);
            }
            sum += Vector512.ConvertToSingle(even + odd) * (HalfScales(tile) * *(float*)activations);
        }
        sum.Store(results);
    }

    /// <summary>Four input rows.</summary>
    public static void Four(byte* tile, byte* activations, int blocks, float* results)
    {
        Vector512<float> s0 = Vector512<float>.Zero, s1 = s0, s2 = s0, s3 = s0;
        for (int block = 0; block < blocks; block++, tile += PackedWeight.RecordBytes, activations += 4 * PackedActivations.BlockBytes)
        {
            int* pairs = (int*)activations + 4;
            Vector512<int> i0 = Vector512<int>.Zero, i1 = i0, i2 = i0, i3 = i0;
            for (int pair = 0; pair < Pairs; pair++, pairs += 4)
            {
                Vector512<short> weights = Weights(tile, pair);
                i0 += Product(weights, pairs[0]);
                i1 += Product(weights, pairs[1]);
                i2 += Product(weights, pairs[2]);
                i3 += Product(weights, pairs[3]);
            }
            Vector512<float> scales = HalfScales(tile);
            float* factors = (float*)activations;
            s0 += Vector512.ConvertToSingle(i0) * (scales * factors[0]);
            s1 += Vector512.ConvertToSingle(i1) * (scales * factors[1]);
            s2 += Vector512.ConvertToSingle(i2) * (scales * factors[2]);
            s3 += Vector512.ConvertToSingle(i3) * (scales * factors[3]);
        }
        s0.Store(results);
        s1.Store(results + 16);
        s2.Store(results + 32);
        s3.Store(results + 48);
    }

    /// <summary>Eight input rows.</summary>
    public static void Eight(byte* tile, byte* activations, int blocks, float* results)
    {
        Vector512<float> s0 = Vector512<float>.Zero, s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
        for (int block = 0; block < blocks; block++, tile += PackedWeight.RecordBytes, activations += 8 * PackedActivations.BlockBytes)
        {
            int* pairs = (int*)activations + 8;
            Vector512<int> i0 = Vector512<int>.Zero, i1 = i0, i2 = i0, i3 = i0, i4 = i0, i5 = i0, i6 = i0, i7 = i0;
            for (int pair = 0; pair < Pairs; pair++, pairs += 8)
            {
                Vector512<short> weights = Weights(tile, pair);
                i0 += Product(weights, pairs[0]);
                i1 += Product(weights, pairs[1]);
                i2 += Product(weights, pairs[2]);
                i3 += Product(weights, pairs[3]);
                i4 += Product(weights, pairs[4]);
                i5 += Product(weights, pairs[5]);
                i6 += Product(weights, pairs[6]);
                i7 += Product(weights, pairs[7]);
            }
            Vector512<float> scales = HalfScales(tile);
            float* factors = (float*)activations;
            s0 += Vector512.ConvertToSingle(i0) * (scales * factors[0]);
            s1 += Vector512.ConvertToSingle(i1) * (scales * factors[1]);
            s2 += Vector512.ConvertToSingle(i2) * (scales * factors[2]);
            s3 += Vector512.ConvertToSingle(i3) * (scales * factors[3]);
            s4 += Vector512.ConvertToSingle(i4) * (scales * factors[4]);
            s5 += Vector512.ConvertToSingle(i5) * (scales * factors[5]);
            s6 += Vector512.ConvertToSingle(i6) * (scales * factors[6]);
            s7 += Vector512.ConvertToSingle(i7) * (scales * factors[7]);
        }
        s0.Store(results);
        s1.Store(results + 16);
        s2.Store(results + 32);
        s3.Store(results + 48);
        s4.Store(results + 64);
        s5.Store(results + 80);
        s6.Store(results + 96);
        s7.Store(results + 112);
    }

    /// <summary>Sixteen rows' weights of two columns, widened.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<short> Weights(byte* tile, int pair) =>
        Avx512BW.ConvertToVector512Int16(Vector256.Load((sbyte*)tile + Scales + pair * 32));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Product(Vector512<short> weights, int pair) =>
        Avx512BW.MultiplyAddAdjacent(weights, Vector512.Create(pair).AsInt16());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> HalfScales(byte* tile)
    {
        Vector512<uint> half = Avx512F.ConvertToVector512UInt32(Vector256.Load((ushort*)tile));
        Vector512<float> magnitude = ((half & Vector512.Create(0x7FFFu)) << 13).AsSingle() * BitConverter.UInt32BitsToSingle(0x77800000);
        return (magnitude.AsUInt32() | (half & Vector512.Create(0x8000u)) << 16).AsSingle();
    }
}
