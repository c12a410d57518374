using System.Runtime.InteropServices;
using XDeepServe.Xccl.Tokens;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Xccl.Tests.Tokens;

public sealed class AllToAllTests
{
    public static TheoryData<int, int, int, WireType, WireType, WireType> Cases
    {
        get
        {
            TheoryData<int, int, int, WireType, WireType, WireType> cases = [];
            int index = 0;
            foreach (int ranks in (int[])[1, 2, 3, 4, 7, 16])
            {
                foreach (WireType element in (WireType[])[WireType.F32, WireType.BF16])
                {
                    foreach (WireType wire in Enum.GetValues<WireType>())
                    {
                        int hidden = ((int[])[1, 15, 16, 33, 64, 257, 300])[index % 7];
                        cases.Add(ranks, hidden, 1 + (index % 5), element, wire, (WireType)((index + (int)wire) % 3));
                        index++;
                    }
                }
            }
            return cases;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Dispatch_and_combine_equal_their_twin(int ranks, int hidden, int topK, WireType element, WireType dispatch, WireType combine)
    {
        TokenShape shape = new() { MaxTokens = 9, Hidden = hidden, TopK = topK, Element = element, DispatchWire = dispatch, CombineWire = combine };
        const int SlotsPerRank = 3;
        TokenCase[] cases = [.. Enumerable.Range(0, 6).Select(seed => new TokenCase(shape, ranks, ranks * SlotsPerRank, seed, seed == 4 ? RoutingKind.OneExpert : RoutingKind.Random))];
        Check(shape, ranks, SlotsPerRank, cases, delays: false);
    }

    [Fact]
    public void Every_expert_may_be_chosen()
    {
        TokenShape shape = new() { MaxTokens = 5, Hidden = 40, TopK = 8 };
        Check(shape, 4, 2, [.. Enumerable.Range(0, 4).Select(seed => new TokenCase(shape, 4, 8, seed, RoutingKind.Everyone))], delays: false);
    }

    [Fact]
    public void A_hundred_orders_of_arrival_give_the_same_bits()
    {
        TokenShape shape = new() { MaxTokens = 6, Hidden = 50, TopK = 4, Element = WireType.BF16, DispatchWire = WireType.I8, CombineWire = WireType.BF16 };
        TokenCase one = new(shape, 5, 10, 1);
        Check(shape, 5, 2, [.. Enumerable.Repeat(one, 100)], delays: true);
    }

    [Fact]
    public void Two_dispatches_overlap()
    {
        TokenShape shape = new() { MaxTokens = 6, Hidden = 20, TopK = 3 };
        TokenCase[] cases = [.. Enumerable.Range(0, 20).Select(seed => new TokenCase(shape, 3, 6, seed))];
        TestGroup.Run(TestGroup.Geometry(3, [.. AllToAll.Channels(shape)]), group =>
        {
            AllToAll exchange = new(group, shape, 2);
            byte[] received = new byte[exchange.MaxReceived * shape.ElementBytes];
            DispatchHandle next = exchange.BeginDispatch(cases[0].Rows(group.Rank), cases[0].Slots(group.Rank), 0);
            for (int round = 0; round < cases.Length; round++)
            {
                DispatchHandle current = next;
                if (round + 1 < cases.Length)
                    next = exchange.BeginDispatch(cases[round + 1].Rows(group.Rank), cases[round + 1].Slots(group.Rank), (uint)round + 1);
                exchange.EndDispatch(current, received);
                float[] combined = new float[cases[round].Tokens(group.Rank) * shape.Hidden];
                exchange.Combine(current, cases[round].Expert(current.Batch, received, group.Rank * 2), cases[round].Gates(group.Rank), combined);
                Assert.Equal(cases[round].Combined(group.Rank), combined);
            }
            DispatchHandle first = exchange.BeginDispatch([], []);
            exchange.BeginDispatch([], []);
            Assert.Throws<InvalidOperationException>(() => exchange.BeginDispatch([], []));
            Assert.Throws<InvalidOperationException>(() => exchange.BeginCombine(first, []));
            group.Collectives.Barrier();
        });
    }

    [Fact]
    public void A_token_travels_once_to_each_rank_and_eight_bits_halve_the_bytes()
    {
        TokenTraffic[] traffic = new TokenTraffic[2];
        foreach (WireType wire in (WireType[])[WireType.BF16, WireType.I8])
        {
            TokenShape shape = new() { MaxTokens = 16, Hidden = 7168, TopK = 8, Element = WireType.BF16, DispatchWire = wire, CombineWire = wire };
            int[] slots = [.. Enumerable.Range(0, 16 * 8).Select(pair => pair % 8)]; // four experts on each rank
            TestGroup.Run(TestGroup.Geometry(2, [.. AllToAll.Channels(shape)]), group =>
            {
                AllToAll exchange = new(group, shape, 4);
                byte[] received = new byte[exchange.MaxReceived * shape.ElementBytes];
                DispatchHandle handle = exchange.Dispatch(new byte[16 * shape.ElementBytes], slots, received);
                Assert.Equal(32, handle.Batch.Rows);
                int size = wire == WireType.BF16 ? 2 : 1;
                Assert.Equal(16L * 8 * 7168 * size, handle.Traffic.Counted);
                Assert.InRange(handle.Traffic.Moved, 16L * 7168 * size, 16L * ((7168 * size) + 64 + 36));
                exchange.Combine(handle, new byte[32 * 8 * shape.ElementBytes], new float[16 * 8], new float[16 * 7168]);
                if (group.Rank == 0)
                    traffic[size - 1] = handle.Traffic;
            });
        }
        Assert.InRange((double)traffic[0].Moved / traffic[1].Moved, 0.5, 0.51);
    }

    [Fact]
    public void Nothing_is_allocated_for_an_exchange()
    {
        TokenShape shape = new() { MaxTokens = 4, Hidden = 64, TopK = 2, DispatchWire = WireType.I8, CombineWire = WireType.BF16 };
        TestGroup.Run(TestGroup.Geometry(2, [.. AllToAll.Channels(shape)]), group =>
        {
            AllToAll exchange = new(group, shape, 2);
            byte[] rows = new byte[4 * shape.ElementBytes], received = new byte[8 * shape.ElementBytes], outputs = new byte[16 * shape.ElementBytes];
            int[] slots = [0, 1, 2, 3, 1, 2, 0, -1];
            float[] gates = new float[8], combined = new float[4 * 64];
            long before = 0;
            for (int round = 0; round < 600; round++)
            {
                if (round == 300)
                    before = GC.GetAllocatedBytesForCurrentThread();
                exchange.Combine(exchange.Dispatch(rows, slots, received), outputs, gates, combined);
            }
            Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
        }, WaitStrategy.Yield);
    }

    [Fact]
    public void Halves_come_in_order_and_none_after_the_rank_has_left()
    {
        TokenShape shape = new() { MaxTokens = 2, Hidden = 8, TopK = 1 };
        Communicator group = Communicator.Join(TestGroup.Options(TestGroup.Name(), 0, TestGroup.Geometry(1, [.. AllToAll.Channels(shape), .. AllToAll.Channels(shape)])));
        AllToAll exchange = new(group, shape, 1), other = new(group, shape, 1, channel: 2), unused = new(group, shape, 1, channel: 2);
        byte[] row = new byte[shape.ElementBytes], received = new byte[2 * shape.ElementBytes];
        DispatchHandle first = exchange.BeginDispatch(row, [0]), second = exchange.BeginDispatch(row, [0]);
        Assert.Contains("oldest", Assert.Throws<InvalidOperationException>(() => exchange.EndDispatch(second, received)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => other.EndDispatch(first, received));
        exchange.EndDispatch(first, received);
        // Too few gates are told before anything is announced, so that the combine can be asked for again.
        Assert.Throws<ArgumentException>(() => exchange.Combine(first, row, [], new float[8]));
        MemoryMarshal.Cast<byte, float>(row.AsSpan()).Fill(2);
        float[] combined = new float[8];
        exchange.Combine(first, row, [0.5f], combined);
        Assert.All(combined, value => Assert.Equal(1, value));
        group.Dispose();
        Assert.Throws<ObjectDisposedException>(() => exchange.EndDispatch(second, received));
        Assert.Throws<ObjectDisposedException>(() => exchange.BeginDispatch(row, [0]));
        Assert.Throws<ObjectDisposedException>(() => unused.BeginDispatch(row, [0]));
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    [InlineData(float.NegativeInfinity)]
    public void A_row_of_eight_bits_with_something_infinite_arrives_as_NaN(float odd)
    {
        foreach (WireType element in (WireType[])[WireType.F32, WireType.BF16])
        {
            foreach (int hidden in (int[])[1, 16, 37])
            {
                for (int place = 0; place < hidden; place++)
                {
                    float[] row = new float[hidden];
                    row.AsSpan().Fill(3);
                    row[place] = odd;
                    Assert.All(TokenCase.ThroughEightBits(element, row), value => Assert.Equal(float.NaN, value));
                }
            }
        }
    }

    [Theory]
    [InlineData(0f)]
    [InlineData(1e-45f)]
    [InlineData(3e-37f)]
    public void A_row_of_eight_bits_too_small_for_a_scale_arrives_as_zero(float value)
    {
        foreach (int hidden in (int[])[1, 16, 37])
            Assert.All(TokenCase.ThroughEightBits(WireType.F32, [.. Enumerable.Range(0, hidden).Select(index => index % 2 == 0 ? value : 0)]), arrived => Assert.Equal(0, arrived));
    }

    [Fact]
    public void A_row_of_eight_bits_may_hold_the_largest_numbers() =>
        Assert.Equal([float.MaxValue, -float.MaxValue, 0], TokenCase.ThroughEightBits(WireType.F32, [float.MaxValue, -float.MaxValue, 1]).Select(value => value == 0 ? 0 : MathF.CopySign(float.MaxValue, value)));

    [Fact]
    public void Mistakes_are_told()
    {
        TokenShape shape = new() { MaxTokens = 2, Hidden = 8, TopK = 2 };
        TestGroup.Run(TestGroup.Geometry(1, [.. AllToAll.Channels(shape)]), group =>
        {
            Assert.Contains("geometry", Assert.Throws<ArgumentException>(() => new AllToAll(group, shape with { MaxTokens = 3 }, 2)).Message, StringComparison.Ordinal);
            AllToAll exchange = new(group, shape, 2);
            Assert.Contains("slot 2", Assert.Throws<ArgumentException>(() => exchange.BeginDispatch(new byte[32], [0, 2])).Message, StringComparison.Ordinal);
            Assert.Throws<ArgumentException>(() => exchange.BeginDispatch(new byte[31], [0, 1]));
            Assert.Throws<ArgumentException>(() => exchange.BeginDispatch(new byte[96], [0, 1, 0, 1, 0, 1]));
        });
        Assert.Throws<ArgumentException>(() => (shape with { Element = WireType.I8 }).Check());
    }

    private static void Check(TokenShape shape, int ranks, int slotsPerRank, TokenCase[] cases, bool delays) =>
        TestGroup.Run(TestGroup.Geometry(ranks, [.. AllToAll.Channels(shape)]), group =>
        {
            AllToAll exchange = new(group, shape, slotsPerRank);
            byte[] received = new byte[exchange.MaxReceived * shape.ElementBytes];
            Random random = new(group.Rank);
            for (int round = 0; round < cases.Length; round++)
            {
                TokenCase one = cases[round];
                Delay();
                DispatchHandle handle = exchange.Dispatch(one.Rows(group.Rank), one.Slots(group.Rank), received, (uint)round, 5);
                (float[] rows, int[] slots) = one.Received(ranks, group.Rank * slotsPerRank, slotsPerRank);
                Assert.Equal(slots, handle.Batch.Slots.ToArray());
                Assert.Equal(rows, one.Values(received, handle.Batch.Rows * shape.Hidden));
                Assert.Equal(((uint)round, 5ul), (handle.Batch.EventId, handle.Batch.Note));
                Delay();
                float[] combined = new float[one.Tokens(group.Rank) * shape.Hidden];
                exchange.Combine(handle, one.Expert(handle.Batch, received, group.Rank * slotsPerRank), one.Gates(group.Rank), combined);
                Assert.Equal(one.Combined(group.Rank), combined);
            }

            void Delay()
            {
                if (delays)
                    Thread.SpinWait(random.Next(2000));
            }
        });
}
