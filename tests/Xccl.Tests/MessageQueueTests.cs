using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using XDeepServe.Xccl.Memory;
using XDeepServe.Xccl.Messages;
using XDeepServe.Xccl.Regions;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Xccl.Tests;

/// <summary>Messages that are posted and complete later.</summary>
public sealed class MessageQueueTests
{
    [Fact]
    public unsafe void Queued_messages_complete_in_order_for_each_direction() => TestGroup.Run(TestGroup.Geometry(3), group =>
    {
        const int Count = 200, Size = 3000;
        Random random = new(group.Rank);
        byte* memory = (byte*)NativeMemory.Alloc((nuint)(4 * Size * Count));
        int[] posted = new int[3], expected = new int[3];
        int[] sentDone = new int[3], receivedDone = new int[3];
        while (sentDone.Sum() + receivedDone.Sum() < 4 * Count)
        {
            for (int peer = 0; peer < 3; peer++)
            {
                if (peer == group.Rank)
                    continue;
                byte* mine = memory + (((peer + 3 - group.Rank) % 3 - 1) * 2L * Count * Size);
                if (posted[peer] < Count && random.Next(2) == 0)
                {
                    byte* source = mine + ((long)posted[peer] * Size);
                    int bytes = posted[peer] * 37 % Size;
                    new Span<byte>(source, bytes).Fill((byte)(posted[peer] + group.Rank));
                    if (group.Messages.TryPost(peer, (uint)posted[peer], (nint)source, bytes, (ulong)posted[peer]))
                        posted[peer]++;
                }
                if (expected[peer] < Count && random.Next(2) == 0 &&
                    group.Messages.TryPostReceive(peer, (uint)expected[peer], (nint)(mine + ((long)(Count + expected[peer]) * Size)), Size, 1000 + (ulong)expected[peer]))
                    expected[peer]++;
            }
            group.Messages.DoWork();
            while (group.Messages.TryComplete(out Completion end))
            {
                Assert.Equal(Progress.Done, end.Outcome);
                if (end.Token < 1000)
                {
                    Assert.Equal(sentDone[end.Rank]++, (int)end.Token);
                    continue;
                }
                int number = receivedDone[end.Rank]++;
                Assert.Equal(number, (int)end.Token - 1000);
                Assert.Equal(number * 37 % Size, end.Bytes);
                byte* room = memory + (((end.Rank + 3 - group.Rank) % 3 - 1) * 2L * Count * Size) + ((long)(Count + number) * Size);
                for (int index = 0; index < end.Bytes; index++)
                    Assert.Equal((byte)(number + end.Rank), room[index]);
            }
            Thread.Yield();
        }
        NativeMemory.Free(memory);
    });

    [Fact]
    public void A_place_that_was_lent_is_used_again_when_its_completion_has_come() => TestGroup.Run(TestGroup.Geometry(2), group =>
    {
        if (group.Rank == 0)
            Assert.Throws<InvalidOperationException>(() => group.Messages.Complete(1));
        for (byte round = 1; round <= 50; round++)
        {
            if (group.Rank == 0)
            {
                // Two places in turn: one is filled while the other is read.
                group.App.Slice(round % 2 * 3000, 3000).Fill(round);
                if (round > 1)
                    Assert.Equal(round - 1u, group.Messages.Complete(1).EventId);
                Assert.True(group.Messages.TryPostLend(1, round, round % 2 * 3000, 3000, round));
                group.Messages.DoWork();
                continue;
            }
            Assert.False(group.Messages.Borrow(0, round).ContainsAnyExcept(round));
            group.Messages.GiveBack(0);
        }
        if (group.Rank == 0)
            Assert.Equal(50u, group.Messages.Complete(1).EventId);
    });
}
