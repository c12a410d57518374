using CsCheck;
using XDeepServe.FlowServe.Tiers;

namespace XDeepServe.FlowServe.Tests;

public sealed class HostTierTests
{
    private const int BlockSize = 4;

    [Fact]
    public void Blocks_are_found_by_their_tokens_and_slots_are_never_lost() =>
        Gen.Select(Gen.Int[0, 4], Gen.Int[0, 11], Gen.Int[0, 3]).Array[1, 120].Sample(commands =>
        {
            HostTier tier = new(7 * 8 + 5, blockBytes: 8, BlockSize);
            Assert.Equal(7, tier.Slots);
            Dictionary<(ulong Hash, ulong Parent), int> kept = [];
            List<int> taken = [], pinned = [];
            foreach ((int command, int content, int which) in commands)
            {
                (ulong hash, ulong parent, int[] tokens) = Block(content);
                int slot = tier.Find(parent, hash, tokens);
                Assert.Equal(kept.GetValueOrDefault((hash, parent), -1), slot);
                switch (command)
                {
                    case 0 when tier.TryTake(out int free):
                        taken.Add(free);
                        break;
                    case 1 when taken.Count > 0:
                        bool isNew = tier.Keep(taken[^1], parent, hash, tokens);
                        Assert.Equal(slot < 0, isNew);
                        if (isNew)
                            kept[(hash, parent)] = taken[^1];
                        taken.RemoveAt(taken.Count - 1);
                        break;
                    case 2 when slot >= 0:
                        tier.Pin(slot);
                        pinned.Add(slot);
                        break;
                    case 3 when pinned.Count > 0:
                        tier.Unpin(pinned[which % pinned.Count]);
                        pinned.RemoveAt(which % pinned.Count);
                        break;
                    case 4 when tier.TryOldest(out int oldest):
                        Assert.DoesNotContain(oldest, pinned);
                        Assert.True(kept.Remove(tier.Key(oldest)));
                        Assert.True(tier.Forget(oldest, pinned: false));
                        break;
                }
                Assert.Equal(kept.Count, tier.Count);
                Assert.Equal(taken.Count + pinned.Distinct().Count(), tier.InUse);
                Assert.Equal(7 - taken.Count - kept.Count, tier.Free);
            }
        }, iter: 400);

    [Fact]
    public void A_block_is_evicted_before_the_one_that_it_stands_on_and_the_longest_unused_chain_first()
    {
        HostTier tier = new(8 * 8, blockBytes: 8, BlockSize);
        int[] chain = [Keep(0, 1), Keep(1, 2), Keep(2, 3)];
        int other = Keep(0, 9);
        int late = Keep(3, 4); // its chain is older than the other block
        for (int i = chain.Length - 1; i >= 0; i--)
            tier.Touch(chain[i]);
        List<int> order = [];
        while (tier.TryOldest(out int slot))
        {
            order.Add(slot);
            tier.Forget(slot, pinned: false);
        }
        Assert.Equal([late, other, chain[2], chain[1], chain[0]], order);

        int Keep(ulong parent, ulong hash)
        {
            Assert.True(tier.TryTake(out int slot));
            Assert.True(tier.Keep(slot, parent, hash, [(int)hash, 0, 0, 0]));
            return slot;
        }
    }

    [Fact]
    public void A_pin_that_another_shares_keeps_the_block()
    {
        HostTier tier = new(16, blockBytes: 8, BlockSize);
        Assert.True(tier.TryTake(out int slot));
        tier.Keep(slot, 0, 1, [1, 2, 3, 4]);
        tier.Pin(slot);
        tier.Pin(slot);
        Assert.False(tier.Forget(slot, pinned: true));
        Assert.Equal(slot, tier.Find(0, 1, [1, 2, 3, 4]));
        Assert.True(tier.Forget(slot, pinned: true));
        Assert.Equal((-1, 2, 0), (tier.Find(0, 1, [1, 2, 3, 4]), tier.Free, tier.InUse));
        Assert.Throws<ArgumentException>(() => new HostTier(7, blockBytes: 8, BlockSize));
    }

    [Fact]
    public void Large_tiers_lie_in_several_slabs_without_overlap()
    {
        HostTier tier = new(3L * (400 << 20), blockBytes: 400 << 20, BlockSize); // pages that nobody touches are not taken
        for (int i = 0; i < 3; i++)
        {
            Assert.True(tier.TryTake(out int slot));
            tier.Bytes(slot)[0] = tier.Bytes(slot)[^1] = (byte)(slot + 1);
        }
        for (int slot = 0; slot < 3; slot++)
            Assert.Equal((slot + 1, slot + 1), (tier.Bytes(slot)[0], tier.Bytes(slot)[^1]));
    }

    [Fact]
    public void The_queue_of_blocks_to_save_keeps_order_and_forgets_what_was_evicted() =>
        Gen.Select(Gen.Int[0, 2], Gen.Int[0, 5]).Array[1, 80].Sample(commands =>
        {
            SaveQueue queue = new(6);
            Dictionary<int, ulong> waiting = [];
            ulong content = 0;
            foreach ((int command, int block) in commands)
            {
                if (command == 0)
                {
                    queue.Add(block, ++content, content + 1);
                    waiting[block] = content;
                }
                else if (command == 1)
                {
                    Assert.Equal(waiting.Remove(block), queue.Remove(block));
                }
                else if (queue.TryPeek(out int first, out ulong hash, out ulong parent))
                {
                    Assert.Equal((waiting[first], waiting[first] + 1), (hash, parent));
                    waiting.Remove(first);
                    queue.Take();
                }
                Assert.Equal(waiting.Count, queue.Count);
            }
            queue.Clear();
            Assert.Equal((0, false), (queue.Count, queue.TryPeek(out _, out _, out _)));
        }, iter: 300);

    private static (ulong Hash, ulong Parent, int[] Tokens) Block(int content) => ((ulong)content / 2, (ulong)content % 3, [content, 1, 2, content / 4]);
}
