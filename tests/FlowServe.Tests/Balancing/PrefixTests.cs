using CsCheck;
using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.FlowServe.Tests.Balancing;

public sealed class PrefixTests
{
    [Fact]
    public void A_set_holds_what_a_naive_one_holds() =>
        // Few and equal low bits, so that names collide.
        Gen.Select(Gen.Bool, Gen.ULong[1, 7], Gen.ULong[0, 3]).Array[1, 200].Sample(commands =>
        {
            PrefixSet set = new(40);
            HashSet<ulong> naive = [];
            foreach ((bool adds, ulong low, ulong high) in commands)
            {
                ulong name = high << 40 | low * 5;
                if (adds)
                    set.Add(name);
                else
                    set.Remove(name);
                _ = adds ? naive.Add(name) : naive.Remove(name);
                Assert.Equal(naive.Count, set.Count);
            }
            for (ulong low = 1; low <= 7; low++)
                for (ulong high = 0; high <= 3; high++)
                    Assert.Equal(naive.Contains(high << 40 | low * 5), set.Contains(high << 40 | low * 5));
            Assert.Equal(naive.Order(), set.Names().Order());
        }, iter: 1000);

    [Fact]
    public void Prompts_are_found_as_far_as_they_agree()
    {
        int[] prompt = [.. Enumerable.Range(0, 300)];
        int[] other = [.. prompt];
        other[200] = 7;
        ulong[] chain = PrefixChain.Of(prompt, null);
        Assert.Equal(4, chain.Length);
        PrefixSet set = new(16);
        foreach (ulong name in chain)
            set.Add(name);
        Assert.Equal(256, set.Held(chain));
        Assert.Equal(192, set.Held(PrefixChain.Of(other, null)));
        Assert.Equal(0, set.Held(PrefixChain.Of(prompt, "tenant")));
        Assert.Equal(64, set.Held(PrefixChain.Of(prompt.AsSpan(0, 128), null))); // one token is always computed
        Assert.Equal(0, set.Held(PrefixChain.Of(prompt.AsSpan(0, 64), null)));
        set.Remove(chain[1]);
        Assert.Equal(64, set.Held(chain));
        set.Clear();
        Assert.Equal((0, 0), (set.Held(chain), set.Count));
    }

    [Fact]
    public void A_summary_tells_what_any_group_holds()
    {
        ulong[] first = PrefixChain.Of([.. Enumerable.Range(0, 1000)], null), second = PrefixChain.Of([.. Enumerable.Range(5, 500)], null);
        PrefixSet[] groups = [new(64), new(64)];
        Array.ForEach(first, groups[0].Add);
        Array.ForEach(second[..3], groups[1].Add);
        PrefixSummary summary = PrefixSummary.Of(groups);
        Assert.Equal(first.Length + 3, summary.Names.Length);
        Assert.Equal((15 * 64, 3 * 64), (summary.Held(first), summary.Held(second)));
        Assert.Equal(0, PrefixSummary.Empty.Held(first));
    }
}
