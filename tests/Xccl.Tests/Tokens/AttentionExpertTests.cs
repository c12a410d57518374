using XDeepServe.Xccl.Tokens;

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
