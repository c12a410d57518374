using System.Globalization;
using XDeepServe.Xccl.Regions;

namespace XDeepServe.Xccl.Tests.Dying;

/// <summary>What a rank does that a test starts as a process of its own, and may kill at any moment.</summary>
internal static class ChildRank
{
    public const uint StopEvent = uint.MaxValue;

    /// <summary>Messages of one round, known to both ends.</summary>
    public static byte[] Message(uint round)
    {
        byte[] message = new byte[round * 7919 % 9000];
        new Random((int)round).NextBytes(message);
        return message;
    }

    public static RegionGeometry Messages(int ranks) => TestGroup.Geometry(ranks);

    public static int Run(string[] arguments)
    {
        string scenario = arguments[0], name = arguments[1];
        int rank = int.Parse(arguments[2], CultureInfo.InvariantCulture);
        using Communicator group = Communicator.Join(TestGroup.Options(name, rank, Messages(2)));
        byte[] room = new byte[9000];
        for (uint round = 0; ; round++)
        {
            if (scenario is "send" or "both")
                group.Messages.Send(0, round, Message(round));
            if (scenario is "receive" or "both")
            {
                if (group.Messages.Receive(0, round, room) is var bytes && !room.AsSpan(0, bytes).SequenceEqual(Message(round)))
                    return 3;
            }
        }
    }
}
