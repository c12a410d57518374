using XDeepServe.Xccl.Tokens;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Xccl.Tests.Tokens;

public sealed class AttentionExpertTests
{
    [Theory]
    [InlineData(1, 1, false)]
    [InlineData(2, 3, false)]
    [InlineData(5, 2, false)]
    [InlineData(1, 1, true)]
    [InlineData(1, 4, true)]
    [InlineData(4, 1, true)]
    [InlineData(2, 3, true)]
    [InlineData(3, 3, true)]
    [InlineData(5, 2, true)]
    [InlineData(6, 10, true)]
    public void Answers_equal_their_twin_while_two_batches_overlap(int attention, int experts, bool trampolines)
    {
        foreach (WireType wire in Enum.GetValues<WireType>())
        {
            TokenShape shape = new() { MaxTokens = 7, Hidden = 45, TopK = 4, Element = WireType.BF16, DispatchWire = wire, CombineWire = wire };
            Topology topology = new(attention, experts, 2, trampolines);
            TokenCase[] cases = [.. Enumerable.Range(0, 12).Select(seed => new TokenCase(shape, attention, experts * 2, seed, seed == 5 ? RoutingKind.OneExpert : RoutingKind.Random))];
            TestGroup.Run(TestGroup.Geometry(attention + experts, [.. topology.Channels(shape)]), group =>
            {
                if (group.Rank < attention)
                    Attend(group, new AttentionSide(group, topology, shape), shape, cases);
                else
                    Compute(group, new ExpertSide(group, topology, shape), shape, topology, cases);
            });
        }
    }

    [Fact]
    public void A_trampoline_may_have_a_thread_of_its_own()
    {
        TokenShape shape = new() { MaxTokens = 7, Hidden = 45, TopK = 4 };
        Topology topology = new(2, 2, 2, true);
        TokenCase[] cases = [.. Enumerable.Range(0, 12).Select(seed => new TokenCase(shape, 2, 4, seed))];
        TestGroup.Run(TestGroup.Geometry(4, [.. topology.Channels(shape)]), group =>
        {
            if (group.Rank < 2)
            {
                Attend(group, new AttentionSide(group, topology, shape), shape, cases);
                group.Collectives.Barrier();
                return;
            }
            ExpertSide side = new(group, topology, shape, drivesTrampoline: false);
            using CancellationTokenSource stop = new();
            Thread stream = new(() =>
            {
                while (!stop.IsCancellationRequested)
                    if (!side.Trampoline!.DoWork())
                        Thread.Yield();
            });
            stream.Start();
            Compute(group, side, shape, topology, cases);
            group.Collectives.Barrier(); // attention has its last answers
            stop.Cancel();
            stream.Join();
        });
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Ranks_at_different_events_are_named(bool trampolines)
    {
        TokenShape shape = new() { MaxTokens = 1, Hidden = 8, TopK = 1 };
        Topology topology = new(2, 1, 1, trampolines);
        TestGroup.Run(TestGroup.Geometry(3, [.. topology.Channels(shape)]), group =>
        {
            if (group.Rank < 2)
            {
                new AttentionSide(group, topology, shape).Send([], [], eventId: 7u + (uint)group.Rank);
                return;
            }
            MessageException other = Assert.Throws<MessageException>(() => new ExpertSide(group, topology, shape).Receive([]));
            Assert.Contains("Rank 1 announced event 8 where event 7", other.Message, StringComparison.Ordinal);
        });
    }

    [Fact]
    public void Tokens_without_room_stay_and_are_received_with_more()
    {
        TokenShape shape = new() { MaxTokens = 2, Hidden = 8, TopK = 1 };
        Topology topology = new(1, 1, 1, false);
        TestGroup.Run(TestGroup.Geometry(2, [.. topology.Channels(shape)]), group =>
        {
            if (group.Rank == 0)
            {
                AttentionSide attention = new(group, topology, shape);
                attention.Send(new byte[32], [0], 1);
                attention.Send(new byte[64], [0, 0], 2);
                attention.Receive([1], new float[8], 1);
                attention.Receive([1, 1], new float[16], 2);
                return;
            }
            ExpertSide side = new(group, topology, shape);
            byte[] room = new byte[64];
            ExpertBatch first = side.Receive(room);
            Assert.Throws<ArgumentException>(() => side.Receive(new byte[63]));
            ExpertBatch second = side.Receive(room);
            Assert.Equal((1u, 1, 2u, 2), (first.EventId, first.Rows, second.EventId, second.Rows)); // the first has not been overwritten
            side.Return(first, room);
            side.Return(second, room);
        });
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Nothing_is_allocated_for_a_batch(bool trampolines)
    {
        TokenShape shape = new() { MaxTokens = 4, Hidden = 64, TopK = 2, DispatchWire = WireType.I8 };
        Topology topology = new(1, 1, 4, trampolines);
        TestGroup.Run(TestGroup.Geometry(2, [.. topology.Channels(shape)]), group =>
        {
            AttentionSide? attention = group.Rank == 0 ? new(group, topology, shape) : null;
            ExpertSide? experts = group.Rank == 1 ? new(group, topology, shape) : null;
            byte[] rows = new byte[4 * shape.ElementBytes], outputs = new byte[8 * shape.ElementBytes];
            int[] slots = [0, 1, 2, 3, 1, 2, 0, -1];
            float[] gates = new float[8], combined = new float[4 * 64];
            long before = 0;
            for (uint round = 0; round < 600; round++)
            {
                if (round == 300)
                    before = GC.GetAllocatedBytesForCurrentThread();
                attention?.Send(rows, slots, round);
                attention?.Receive(gates, combined, round);
                experts?.Return(experts.Receive(rows), outputs);
            }
            Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
            experts?.Drain();
        }, WaitStrategy.Yield);
    }

    private static void Attend(Communicator group, AttentionSide side, TokenShape shape, TokenCase[] cases)
    {
        for (int round = 0; round < cases.Length + 1; round++)
        {
            if (round < cases.Length)
                side.Send(cases[round].Rows(group.Rank), cases[round].Slots(group.Rank), (uint)round, (ulong)round * 3);
            if (round == 0)
                continue;
            TokenCase previous = cases[round - 1];
            float[] combined = new float[previous.Tokens(group.Rank) * shape.Hidden];
            side.Receive(previous.Gates(group.Rank), combined, (uint)round - 1);
            Assert.Equal(previous.Combined(group.Rank), combined);
        }
        Assert.Equal(0, side.UnderWay);
    }

    private static void Compute(Communicator group, ExpertSide side, TokenShape shape, Topology topology, TokenCase[] cases)
    {
        int first = (group.Rank - topology.AttentionRanks) * topology.SlotsPerRank;
        byte[] received = new byte[side.MaxReceived * shape.ElementBytes];
        for (int round = 0; round < cases.Length; round++)
        {
            ExpertBatch batch = side.Receive(received);
            (float[] rows, int[] slots) = cases[round].Received(topology.AttentionRanks, first, topology.SlotsPerRank);
            Assert.Equal(slots, batch.Slots.ToArray());
            Assert.Equal(rows, cases[round].Values(received, batch.Rows * shape.Hidden));
            Assert.Equal(((uint)round, (ulong)round * 3), (batch.EventId, batch.Note));
            side.Return(batch, cases[round].Expert(batch, received, first));
        }
        side.Drain();
    }
}
