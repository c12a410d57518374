using System.Globalization;
using XDeepServe.Xccl.Regions;
using XDeepServe.Xccl.Tests.Tokens;
using XDeepServe.Xccl.Tokens;

namespace XDeepServe.Xccl.Tests.Dying;

/// <summary>What a rank does that a test starts as a process of its own, and may kill at any moment. It never ends by itself.</summary>
internal static class ChildRank
{
    public const int SlotsPerRank = 2;
    private const int Ranks = 3;

    public static TokenShape Shape { get; } = new() { MaxTokens = 8, Hidden = 300, TopK = 3, DispatchWire = WireType.I8, CombineWire = WireType.BF16 };

    public static RegionGeometry Messages { get; } = TestGroup.Geometry(2);

    public static RegionGeometry Exchanges { get; } = TestGroup.Geometry(Ranks, [.. AllToAll.Channels(Shape)]);

    /// <summary>Message of one round, known to both ends.</summary>
    public static byte[] Message(uint round)
    {
        byte[] message = new byte[round * 7919 % 9000];
        new Random((int)round).NextBytes(message);
        return message;
    }

    /// <summary>Exchanges without end, each checked against its twin.</summary>
    public static void Exchange(Communicator group, AllToAll exchange)
    {
        byte[] received = new byte[exchange.MaxReceived * Shape.ElementBytes];
        for (int round = 0; ; round++)
        {
            TokenCase one = new(Shape, Ranks, Ranks * SlotsPerRank, round % 50);
            DispatchHandle handle = exchange.Dispatch(one.Rows(group.Rank), one.Slots(group.Rank), received, (uint)round);
            float[] combined = new float[one.Tokens(group.Rank) * Shape.Hidden];
            exchange.Combine(handle, one.Expert(handle.Batch, received, group.Rank * SlotsPerRank), one.Gates(group.Rank), combined);
            if (!one.Combined(group.Rank).AsSpan().SequenceEqual(combined))
                throw new InvalidDataException($"Round {round} differs from its twin.");
        }
    }

    public static int Run(string[] arguments)
    {
        string scenario = arguments[0], name = arguments[1];
        int rank = int.Parse(arguments[2], CultureInfo.InvariantCulture);
        using Communicator group = Communicator.Join(TestGroup.Options(name, rank, scenario == "exchange" ? Exchanges : Messages));
        if (scenario == "exchange")
            Exchange(group, new AllToAll(group, Shape, SlotsPerRank));
        byte[] room = new byte[9000];
        for (uint round = 0; ; round++)
        {
            if (scenario is "send" or "both")
                group.Messages.Send(0, round, Message(round));
            if (scenario is "receive" or "both" && !room.AsSpan(0, group.Messages.Receive(0, round, room)).SequenceEqual(Message(round)))
                return 3;
        }
    }
}
