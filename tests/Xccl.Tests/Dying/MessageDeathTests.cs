namespace XDeepServe.Xccl.Tests.Dying;

/// <summary>A peer is killed at a random moment: the survivor gets an error that names it, never a hang; a new one takes its place.</summary>
public sealed class MessageDeathTests
{
    [Theory]
    [InlineData("send")]
    [InlineData("receive")]
    [InlineData("both")]
    public void A_killed_peer_is_named_and_replaced(string scenario)
    {
        string name = TestGroup.Name();
        Random random = new(scenario.Length);
        Victim victim = new(scenario, name, 1);
        try
        {
            using Communicator group = Communicator.Join(TestGroup.Options(name, 0, ChildRank.Messages));
            int survived = 0;
            for (int trial = 0; trial < Victim.Trials; trial++)
            {
                Victim current = victim;
                int after = random.Next(40);
                Thread killer = new(() =>
                {
                    Thread.Sleep(after);
                    current.Kill();
                });
                killer.Start();
                PeerLostException lost = Assert.Throws<PeerLostException>(() => Talk(group, scenario));
                Assert.Equal(1, lost.PeerRank);
                killer.Join();
                Assert.Throws<PeerLostException>(() => group.Messages.Send(1, 0, [1])); // at once, without waiting again
                victim.Dispose();
                victim = new Victim(scenario, name, 1);
                group.Rejoin(TimeSpan.FromMinutes(1));
                survived++;
            }
            Assert.Equal(Victim.Trials, survived);
        }
        finally
        {
            victim.Dispose();
        }
        using (Communicator last = Communicator.Join(TestGroup.Options(TestGroup.Name(), 0, TestGroup.Geometry(1))))
            Assert.Empty(TestGroup.Files(name));
    }

    private static void Talk(Communicator group, string scenario)
    {
        byte[] room = new byte[9000];
        for (uint round = 0; ; round++)
        {
            if (scenario is "send" or "both")
                Assert.Equal(ChildRank.Message(round), room[..group.Messages.Receive(1, round, room)]);
            if (scenario is "receive" or "both")
                group.Messages.Send(1, round, ChildRank.Message(round));
        }
    }
}
