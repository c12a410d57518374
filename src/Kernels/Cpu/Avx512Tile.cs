using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// Sixteen output rows by one, four or eight input rows, with 512-bit vectors: a lane is an output row, so that no sum runs
/// across lanes. Results are added to; integer sums are exact, float sums run over records in order.
/// </summary>
internal static unsafe class Avx512Tile
{
    /// <summary>One input row.</summary>
    public static void One<TRecord>(byte* record, byte* activations, int count, float* results) where TRecord : struct, IRecord
    {
        Vector512<float> sum = Vector512.Load(results);
        int pairsPerPart = TileLayout.Pairs / TRecord.Parts;
        for (int i = 0; i < count; i++, record += TRecord.Bytes, activations += PackedActivations.BlockBytes)
        {
            for (int part = 0; part < TRecord.Parts; part++)
            {
                int* pairs = (int*)activations + 2;
                Vector512<int> even = Vector512<int>.Zero, odd = Vector512<int>.Zero;
                for (int pair = part * pairsPerPart; pair < (part + 1) * pairsPerPart; pair += 4)
                {
                    even += Product(Weights<TRecord>(record, pair), pairs[pair]);
                    odd += Product(Weights<TRecord>(record, pair + 1), pairs[pair + 1]);
                    even += Product(Weights<TRecord>(record, pair + 2), pairs[pair + 2]);
                    odd += Product(Weights<TRecord>(record, pair + 3), pairs[pair + 3]);
                }
                sum = Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(even + odd), Scales<TRecord>(record, part) * *(float*)activations, sum);
            }
            if (TRecord.HasMinimums)
                sum -= Minimums(record) * ((float*)activations)[1];
        }
        sum.Store(results);
    }

    /// <summary>Four input rows.</summary>
    public static void Four<TRecord>(byte* record, byte* activations, int count, float* results) where TRecord : struct, IRecord
    {
        Vector512<float> s0 = Vector512.Load(results), s1 = Vector512.Load(results + 16), s2 = Vector512.Load(results + 32), s3 = Vector512.Load(results + 48);
        int pairsPerPart = TileLayout.Pairs / TRecord.Parts;
        for (int i = 0; i < count; i++, record += TRecord.Bytes, activations += 4 * PackedActivations.BlockBytes)
        {
            float* factors = (float*)activations;
            for (int part = 0; part < TRecord.Parts; part++)
            {
                int* pairs = (int*)activations + 2 * 4 + part * pairsPerPart * 4;
                Vector512<int> i0 = Vector512<int>.Zero, i1 = i0, i2 = i0, i3 = i0;
                for (int pair = part * pairsPerPart; pair < (part + 1) * pairsPerPart; pair++, pairs += 4)
                {
                    Vector512<short> weights = Weights<TRecord>(record, pair);
                    i0 += Product(weights, pairs[0]);
                    i1 += Product(weights, pairs[1]);
                    i2 += Product(weights, pairs[2]);
                    i3 += Product(weights, pairs[3]);
                }
                Vector512<float> scales = Scales<TRecord>(record, part);
                s0 = Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(i0), scales * factors[0], s0);
                s1 = Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(i1), scales * factors[1], s1);
                s2 = Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(i2), scales * factors[2], s2);
                s3 = Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(i3), scales * factors[3], s3);
            }
            if (!TRecord.HasMinimums)
                continue;
            Vector512<float> minimums = Minimums(record);
            s0 -= minimums * factors[4];
            s1 -= minimums * factors[5];
            s2 -= minimums * factors[6];
            s3 -= minimums * factors[7];
        }
        s0.Store(results);
        s1.Store(results + 16);
        s2.Store(results + 32);
        s3.Store(results + 48);
    }

    /// <summary>Eight input rows.</summary>
    public static void Eight<TRecord>(byte* record, byte* activations, int count, float* results) where TRecord : struct, IRecord
    {
        Vector512<float> s0 = Vector512.Load(results), s1 = Vector512.Load(results + 16), s2 = Vector512.Load(results + 32), s3 = Vector512.Load(results + 48);
        Vector512<float> s4 = Vector512.Load(results + 64), s5 = Vector512.Load(results + 80), s6 = Vector512.Load(results + 96), s7 = Vector512.Load(results + 112);
        int pairsPerPart = TileLayout.Pairs / TRecord.Parts;
        for (int i = 0; i < count; i++, record += TRecord.Bytes, activations += 8 * PackedActivations.BlockBytes)
        {
            float* factors = (float*)activations;
            for (int part = 0; part < TRecord.Parts; part++)
            {
                int* pairs = (int*)activations + 2 * 8 + part * pairsPerPart * 8;
                Vector512<int> i0 = Vector512<int>.Zero, i1 = i0, i2 = i0, i3 = i0, i4 = i0, i5 = i0, i6 = i0, i7 = i0;
                for (int pair = part * pairsPerPart; pair < (part + 1) * pairsPerPart; pair++, pairs += 8)
                {
                    Vector512<short> weights = Weights<TRecord>(record, pair);
                    i0 += Product(weights, pairs[0]);
                    i1 += Product(weights, pairs[1]);
                    i2 += Product(weights, pairs[2]);
                    i3 += Product(weights, pairs[3]);
                    i4 += Product(weights, pairs[4]);
                    i5 += Product(weights, pairs[5]);
                    i6 += Product(weights, pairs[6]);
                    i7 += Product(weights, pairs[7]);
                }
                Vector512<float> scales = Scales<TRecord>(record, part);
                s0 = Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(i0), scales * factors[0], s0);
                s1 = Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(i1), scales * factors[1], s1);
                s2 = Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(i2), scales * factors[2], s2);
                s3 = Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(i3), scales * factors[3], s3);
                s4 = Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(i4), scales * factors[4], s4);
                s5 = Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(i5), scales * factors[5], s5);
                s6 = Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(i6), scales * factors[6], s6);
                s7 = Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(i7), scales * factors[7], s7);
            }
            if (!TRecord.HasMinimums)
                continue;
            Vector512<float> minimums = Minimums(record);
            s0 -= minimums * factors[8];
            s1 -= minimums * factors[9];
            s2 -= minimums * factors[10];
            s3 -= minimums * factors[11];
            s4 -= minimums * factors[12];
            s5 -= minimums * factors[13];
            s6 -= minimums * factors[14];
            s7 -= minimums * factors[15];
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
    private static Vector512<short> Weights<TRecord>(byte* record, int pair) where TRecord : struct, IRecord =>
        Avx512BW.ConvertToVector512Int16(Vector256.Load((sbyte*)record + TRecord.WeightsAt + pair * 32));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Product(Vector512<short> weights, int pair) =>
        Avx512BW.MultiplyAddAdjacent(weights, Vector512.Create(pair).AsInt16());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Scales<TRecord>(byte* record, int part) where TRecord : struct, IRecord =>
        Vector512.Create(TRecord.Scales(record, part, 0), TRecord.Scales(record, part, 8));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Minimums(byte* record) => Vector512.Load((float*)record + TileLayout.Rows);
}
