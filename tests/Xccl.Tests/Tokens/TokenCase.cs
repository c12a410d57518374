using System.Runtime.InteropServices;
using XDeepServe.Xccl.Tokens;

namespace XDeepServe.Xccl.Tests.Tokens;

/// <summary>
/// Tokens, routing and gates of all ranks of one exchange, drawn from a seed, and the naive twin: one process, one loop, the
/// conversions written out value by value.
/// </summary>
internal sealed class TokenCase
{
    private readonly TokenShape shape;
    private readonly int slots;
    private readonly float[][] rows; // per rank [tokens, hidden], values that the element type can hold
    private readonly int[][] chosen; // per rank [tokens, topK]
    private readonly float[][] gates; // per rank [tokens, topK]

    public TokenCase(TokenShape shape, int ranks, int slots, int seed, RoutingKind kind = RoutingKind.Random)
    {
        this.shape = shape;
        this.slots = slots;
        Random random = new(seed);
        rows = new float[ranks][];
        chosen = new int[ranks][];
        gates = new float[ranks][];
        for (int rank = 0; rank < ranks; rank++)
        {
            int tokens = random.Next(4) == 0 ? 0 : random.Next(shape.MaxTokens + 1);
            rows[rank] = [.. Enumerable.Range(0, tokens * shape.Hidden).Select(_ => Element((random.NextSingle() - 0.5f) * MathF.Pow(2, random.Next(-3, 4))))];
            chosen[rank] = new int[tokens * shape.TopK];
            gates[rank] = [.. Enumerable.Range(0, tokens * shape.TopK).Select(_ => random.NextSingle())];
            for (int token = 0; token < tokens; token++)
            {
                int[] order = [.. Enumerable.Range(0, slots)];
                random.Shuffle(order);
                for (int k = 0; k < shape.TopK; k++)
                {
                    chosen[rank][(token * shape.TopK) + k] = kind switch
                    {
                        RoutingKind.OneExpert => slots - 1,
                        RoutingKind.Everyone => order[k],
                        _ => random.Next(8) == 0 ? -1 : random.Next(slots), // gaps and duplicates
                    };
                }
            }
        }
    }

    public int[] Slots(int rank) => chosen[rank];

    public float[] Gates(int rank) => gates[rank];

    public int Tokens(int rank) => gates[rank].Length / shape.TopK;

    /// <summary>A rank's rows as the library takes them.</summary>
    public byte[] Rows(int rank) => Bytes(rows[rank]);

    /// <summary>What the experts of a rank make of what has come: one row for each (row, k).</summary>
    public byte[] Expert(ExpertBatch batch, byte[] received, int firstSlot)
    {
        float[] values = Values(received, batch.Rows * shape.Hidden);
        float[] outputs = new float[batch.Rows * shape.TopK * shape.Hidden];
        for (int pair = 0; pair < batch.Rows * shape.TopK; pair++)
        {
            for (int i = 0; i < shape.Hidden; i++)
                outputs[(pair * shape.Hidden) + i] = batch.Slots[pair] < 0 ? float.NaN : Answer(batch.Slots[pair] + firstSlot, values[(pair / shape.TopK * shape.Hidden) + i]);
        }
        return Bytes(outputs);
    }

    /// <summary>The twin's sums for a rank.</summary>
    public float[] Combined(int rank)
    {
        float[] combined = new float[Tokens(rank) * shape.Hidden];
        for (int token = 0; token < Tokens(rank); token++)
        {
            float[] arrived = [.. OnTheWay(rows[rank].AsSpan(token * shape.Hidden, shape.Hidden), shape.DispatchWire).Select(Element)];
            Span<float> sum = combined.AsSpan(token * shape.Hidden, shape.Hidden);
            for (int k = 0; k < shape.TopK; k++)
            {
                int slot = chosen[rank][(token * shape.TopK) + k];
                if (slot < 0)
                    continue;
                float[] answer = [.. arrived.Select(value => Answer(slot, value))];
                float[] back = OnTheWay(answer, shape.CombineWire);
                for (int i = 0; i < shape.Hidden; i++)
                    sum[i] = MathF.FusedMultiplyAdd(gates[rank][(token * shape.TopK) + k], back[i], sum[i]);
            }
        }
        return combined;
    }

    /// <summary>Rows that the experts with these slots get from all ranks, in order, and their local slots.</summary>
    public (float[] Rows, int[] Slots) Received(int ranks, int firstSlot, int count)
    {
        List<float> values = [];
        List<int> local = [];
        for (int rank = 0; rank < ranks; rank++)
        {
            for (int token = 0; token < Tokens(rank); token++)
            {
                int[] mine = [.. chosen[rank].AsSpan(token * shape.TopK, shape.TopK).ToArray().Select(slot => slot >= firstSlot && slot < firstSlot + count ? slot - firstSlot : -1)];
                if (mine.All(slot => slot < 0))
                    continue;
                local.AddRange(mine);
                values.AddRange(OnTheWay(rows[rank].AsSpan(token * shape.Hidden, shape.Hidden), shape.DispatchWire).Select(Element));
            }
        }
        return ([.. values], [.. local]);
    }

    public float[] Values(ReadOnlySpan<byte> bytes, int count)
    {
        float[] values = new float[count];
        for (int index = 0; index < count; index++)
            values[index] = shape.Element == WireType.F32
                ? BitConverter.ToSingle(bytes[(index * 4)..])
                : BitConverter.UInt32BitsToSingle((uint)BitConverter.ToUInt16(bytes[(index * 2)..]) << 16);
        return values;
    }

    public override string ToString() => $"{shape} slots {slots}";

    private float Answer(int slot, float value) => Element((value * (1 + (slot * 0.25f))) + slot);

    private float Element(float value) => shape.Element == WireType.F32 ? value : Halved(value);

    private byte[] Bytes(float[] values) => shape.Element == WireType.F32
        ? MemoryMarshal.AsBytes<float>(values).ToArray()
        : MemoryMarshal.AsBytes<ushort>(values.Select(value => (ushort)(BitConverter.SingleToUInt32Bits(Halved(value)) >> 16)).ToArray()).ToArray();

    private static float[] OnTheWay(ReadOnlySpan<float> row, WireType wire)
    {
        float largest = 0;
        foreach (float value in row)
            largest = MathF.Max(largest, MathF.Abs(value));
        float scale = largest / 127, inverse = largest == 0 ? 0 : 127 / largest;
        float[] arrived = new float[row.Length];
        for (int i = 0; i < row.Length; i++)
            arrived[i] = wire switch
            {
                WireType.F32 => row[i],
                WireType.BF16 => Halved(row[i]),
                _ => MathF.Round(row[i] * inverse) * scale,
            };
        return arrived;
    }

    /// <summary>A row after the library's way there and back in eight bits.</summary>
    public static unsafe float[] ThroughEightBits(WireType element, float[] row)
    {
        TokenCase one = new(new TokenShape { MaxTokens = 1, Hidden = row.Length, TopK = 1, Element = element, DispatchWire = WireType.I8 }, 0, 1, 0);
        RowFormat format = one.shape.Dispatch;
        byte[] bytes = one.Bytes(row), back = new byte[bytes.Length];
        byte* wire = (byte*)NativeMemory.AlignedAlloc((nuint)format.WireBytes, 64);
        fixed (byte* from = bytes, to = back)
        {
            format.Encode(wire, from, stream: false);
            format.Decode(to, wire);
        }
        NativeMemory.AlignedFree(wire);
        return one.Values(back, row.Length);
    }

    /// <summary>To the nearest that an upper half can hold, ties to even.</summary>
    private static float Halved(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        if (float.IsNaN(value))
            return BitConverter.UInt32BitsToSingle((bits & 0xFFFF0000) | 0x400000);
        uint rest = bits & 0xFFFF;
        bits &= 0xFFFF0000;
        if (rest > 0x8000 || (rest == 0x8000 && (bits & 0x10000) != 0))
            bits += 0x10000;
        return BitConverter.UInt32BitsToSingle(bits);
    }
}

/// <summary>How the tokens of a case choose their experts.</summary>
internal enum RoutingKind
{
    Random,
    OneExpert,
    Everyone,
}
