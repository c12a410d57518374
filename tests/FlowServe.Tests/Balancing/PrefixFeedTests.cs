using CsCheck;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.FlowServe.Tiers;

namespace XDeepServe.FlowServe.Tests.Balancing;

public sealed class PrefixFeedTests
{
    private const int Blocks = 300, BlockSize = PrefixChain.Span;

    [Fact]
    public void What_the_tiers_lose_is_forgotten_a_few_names_a_turn() =>
        Gen.Bool.Array[Blocks].Sample(lost =>
        {
            (PrefixFeed feed, CacheTiers tiers, ulong[] chain) = Evicted();
            for (int block = 0; block < Blocks; block++)
                if (lost[block])
                    tiers.Host.Forget(block, pinned: false);
            int left = lost.Count(gone => !gone);
            for (int looked = 0; looked < Blocks; looked += PrefixFeed.SweepNames)
            {
                int before = feed.Set.Count;
                feed.Sweep(tiers);
                Assert.InRange(feed.Set.Count, before - PrefixFeed.SweepNames, before);
            }
            Assert.Equal(left, feed.Set.Count);
            for (int block = 0; block < Blocks; block++)
                Assert.Equal(!lost[block], feed.Set.Contains(chain[block]));
        }, iter: 30);

    [Fact]
    public void What_is_on_the_device_again_is_not_forgotten()
    {
        (PrefixFeed feed, CacheTiers tiers, ulong[] chain) = Evicted();
        feed.Commit(Prompt(), place: 0);
        for (int block = 0; block < Blocks; block++)
            tiers.Host.Forget(block, pinned: false);
        for (int looked = 0; looked < Blocks; looked += PrefixFeed.SweepNames)
            feed.Sweep(tiers);
        Assert.Equal([chain[0]], feed.Set.Names());
    }

    [Fact]
    public void Names_that_there_is_no_room_for_are_forgotten_with_their_block()
    {
        PrefixFeed feed = new(Blocks, BlockSize);
        feed.Reserve(2);
        Sequence prompt = Prompt();
        for (int place = 0; place < 3; place++)
            feed.Commit(prompt, place);
        for (int block = 0; block < 3; block++)
            feed.Evict(block, (ulong)block + 1, kept: true);
        Assert.Equal(PrefixChain.Of(prompt.Keys, null)[..2].Order(), feed.Set.Names().Order());
    }

    /// <summary>A prompt whose blocks the device has lost and host memory has, each in the slot of its place.</summary>
    private static (PrefixFeed Feed, CacheTiers Tiers, ulong[] Chain) Evicted()
    {
        HostTier host = new(Blocks, blockBytes: 1, BlockSize);
        CacheTiers tiers = new(host, null, Blocks, stepTokens: 64, new TierOptions(), null, _ => { }, () => { }, new PrefillCostModel());
        PrefixFeed feed = new(Blocks, BlockSize);
        feed.Reserve(tiers.Blocks);
        Sequence prompt = Prompt();
        ulong hash = prompt.SaltHash;
        for (int place = 0; place < Blocks; place++)
        {
            ReadOnlySpan<int> tokens = prompt.Keys.Slice(place * BlockSize, BlockSize);
            ulong parent = hash;
            hash = RadixIndex.Hash(parent, tokens);
            Assert.True(host.TryTake(out int slot));
            Assert.Equal(place, slot);
            Assert.True(host.Keep(slot, parent, hash, tokens));
            feed.Commit(prompt, place);
        }
        for (int block = 0; block < Blocks; block++)
            feed.Evict(block, host.Key(block).Hash, kept: true);
        Assert.Equal(Blocks, feed.Set.Count);
        return (feed, tiers, PrefixChain.Of(prompt.Keys, null));
    }

    private static Sequence Prompt()
    {
        Sequence prompt = new(new GenerationRequest { Id = "prompt", Prompt = [.. Enumerable.Range(0, Blocks * BlockSize + 1)], Sampling = new SamplingParameters() }, 0, 1, BlockSize);
        for (int block = 0; block < Blocks; block++)
            prompt.AddBlock(block);
        return prompt;
    }
}
