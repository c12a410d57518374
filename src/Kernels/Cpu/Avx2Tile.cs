using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace XDeepServe.Kernels.Cpu;

/// <summary>The tile of <see cref="Avx512Tile"/> with 256-bit vectors: its two halves of eight output rows one behind the other.</summary>
internal static unsafe class Avx2Tile
{
    /// <summary>One input row.</summary>
    public static void One<TRecord>(byte* record, byte* activations, int count, float* results) where TRecord : struct, IRecord
    {
        Vector256<float> low = Vector256.Load(results), high = Vector256.Load(results + 8);
        int pairsPerPart = TileLayout.Pairs / TRecord.Parts;
        for (int i = 0; i < count; i++, record += TRecord.Bytes, activations += PackedActivations.BlockBytes)
        {
            for (int part = 0; part < TRecord.Parts; part++)
            {
                int* pairs = (int*)activations + 2;
                Vector256<int> lowSum = Vector256<int>.Zero, highSum = lowSum;
                for (int pair = part * pairsPerPart; pair < (part + 1) * pairsPerPart; pair++)
                {
                    lowSum += Product(Weights<TRecord>(record, pair, 0), pairs[pair]);
                    highSum += Product(Weights<TRecord>(record, pair, 8), pairs[pair]);
                }
                low = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(lowSum), TRecord.Scales(record, part, 0) * *(float*)activations, low);
                high = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(highSum), TRecord.Scales(record, part, 8) * *(float*)activations, high);
            }
            if (!TRecord.HasMinimums)
                continue;
            low -= Minimums(record, 0) * ((float*)activations)[1];
            high -= Minimums(record, 8) * ((float*)activations)[1];
        }
        low.Store(results);
        high.Store(results + 8);
    }

    /// <summary>Four or eight input rows, four at a time.</summary>
    public static void Many<TRecord>(byte* record, byte* activations, int count, int height, float* results) where TRecord : struct, IRecord
    {
        for (int lane = 0; lane < height; lane += 4)
        {
            Four<TRecord>(record, activations, count, height, lane, 0, results + lane * TileLayout.Rows);
            Four<TRecord>(record, activations, count, height, lane, 8, results + lane * TileLayout.Rows);
        }
    }

    private static void Four<TRecord>(byte* record, byte* activations, int count, int height, int lane, int row, float* results) where TRecord : struct, IRecord
    {
        results += row;
        Vector256<float> s0 = Vector256.Load(results), s1 = Vector256.Load(results + 16), s2 = Vector256.Load(results + 32), s3 = Vector256.Load(results + 48);
        int pairsPerPart = TileLayout.Pairs / TRecord.Parts;
        for (int i = 0; i < count; i++, record += TRecord.Bytes, activations += height * PackedActivations.BlockBytes)
        {
            float* factors = (float*)activations + lane;
            for (int part = 0; part < TRecord.Parts; part++)
            {
                int* pairs = (int*)activations + 2 * height + part * pairsPerPart * height + lane;
                Vector256<int> i0 = Vector256<int>.Zero, i1 = i0, i2 = i0, i3 = i0;
                for (int pair = part * pairsPerPart; pair < (part + 1) * pairsPerPart; pair++, pairs += height)
                {
                    Vector256<short> weights = Weights<TRecord>(record, pair, row);
                    i0 += Product(weights, pairs[0]);
                    i1 += Product(weights, pairs[1]);
                    i2 += Product(weights, pairs[2]);
                    i3 += Product(weights, pairs[3]);
                }
                Vector256<float> scales = TRecord.Scales(record, part, row);
                s0 = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(i0), scales * factors[0], s0);
                s1 = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(i1), scales * factors[1], s1);
                s2 = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(i2), scales * factors[2], s2);
                s3 = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(i3), scales * factors[3], s3);
            }
            if (!TRecord.HasMinimums)
                continue;
            Vector256<float> minimums = Minimums(record, row);
            s0 -= minimums * factors[height];
            s1 -= minimums * factors[height + 1];
            s2 -= minimums * factors[height + 2];
            s3 -= minimums * factors[height + 3];
        }
        s0.Store(results);
        s1.Store(results + 16);
        s2.Store(results + 32);
        s3.Store(results + 48);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<short> Weights<TRecord>(byte* record, int pair, int row) where TRecord : struct, IRecord =>
        Avx2.ConvertToVector256Int16((sbyte*)record + TRecord.WeightsAt + pair * 32 + row * 2);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Product(Vector256<short> weights, int pair) =>
        Avx2.MultiplyAddAdjacent(weights, Vector256.Create(pair).AsInt16());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Minimums(byte* record, int row) => Vector256.Load((float*)record + TileLayout.Rows + row);
}
