using XDeepServe.Xccl.Tests.Tokens;

namespace XDeepServe.Xccl.Tests.Dying;

/// <summary>A rank with experts is killed in the middle of exchanges among three: both survivors say so, and all go on with a new one.</summary>
public sealed class ExchangeDeathTests
{
    [Fact]
    public void A_killed_expert_rank_is_named_and_replaced()
    {
        string name = TestGroup.Name();
        Random random = new(4);
        Victim? victim = new("exchange", name, 1);
        Communicator[] groups = new Communicator[2];
        try
        {
            Both(index => groups[index] = Communicator.Join(TestGroup.Options(name, index * 2, ChildRank.Exchanges)));
            AllToAll[] exchanges = [.. groups.Select(group => new AllToAll(group, ChildRank.Shape, ChildRank.SlotsPerRank))];
            for (int trial = 0; trial < Victim.Trials; trial++)
            {
                int after = random.Next(40);
                Victim current = victim;
                Thread killer = new(() =>
                {
                    Thread.Sleep(after);
                    current.Kill();
                });
                killer.Start();
                Both(index => Assert.Equal(1, Assert.Throws<PeerLostException>(() => ChildRank.Exchange(groups[index], exchanges[index])).PeerRank));
                killer.Join();
                victim.Dispose();
                victim = new Victim("exchange", name, 1);
                Both(index => groups[index].Rejoin(TimeSpan.FromMinutes(1)));
            }
        }
        finally
        {
            victim.Dispose();
            foreach (Communicator? group in groups)
                group?.Dispose();
        }
        Assert.Empty(TestGroup.Files(name));
    }

    private static void Both(Action<int> body)
    {
        Exception? failure = null;
        Thread other = new(() => failure = Record.Exception(() => body(1)));
        other.Start();
        body(0);
        other.Join();
        Assert.Null(failure);
    }
}
