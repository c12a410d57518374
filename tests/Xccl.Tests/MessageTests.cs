using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using XDeepServe.Xccl.Memory;
using XDeepServe.Xccl.Messages;
using XDeepServe.Xccl.Regions;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Xccl.Tests;

public sealed class MessageTests
{
    private static readonly TimeSpan Short = TimeSpan.FromMilliseconds(80);

    [Theory]
    [InlineData(WaitStrategy.Spin)]
    [InlineData(WaitStrategy.Yield)]
    [InlineData(WaitStrategy.Block)]
    public void Messages_of_every_size_arrive_whole(WaitStrategy strategy) => TestGroup.Run(TestGroup.Geometry(2) with { Lanes = 3 }, group =>
    {
        Random random = new(5);
        for (uint round = 0; round < 300; round++)
        {
            int form = random.Next(4), lanes = 1 + random.Next(3);
            byte[] message = new byte[random.Next(3) switch { 0 => random.Next(40), 1 => random.Next(600), _ => random.Next(9000) }];
            random.NextBytes(message);
            if (group.Rank == (int)(round % 2))
            {
                switch (form)
                {
                    case 0: group.Messages.Send(1 - group.Rank, round, message); break;
                    case 1: group.Messages.SendBuffered(1 - group.Rank, round, message); break;
                    case 2: group.Messages.SendLanes(1 - group.Rank, round, message, lanes); break;
                    default:
                        message.CopyTo(group.App[77..]);
                        group.Messages.Lend(1 - group.Rank, round, 77, message.Length);
                        break;
                }
                continue;
            }
            byte[] room = new byte[message.Length + 3];
            if (form == 2)
                group.Messages.ReceiveLanes(1 - group.Rank, round, room.AsSpan(0, message.Length), lanes);
            else
                Assert.Equal(message.Length, group.Messages.Receive(1 - group.Rank, round, room));
            Assert.Equal(message, room[..message.Length]);
        }
    }, strategy);

    [Theory]
    [InlineData(2)]
    [InlineData(5)]
    [InlineData(16)]
    public void Ranks_in_a_ring_make_progress(int ranks) => TestGroup.Run(TestGroup.Geometry(ranks), group =>
    {
        int next = (group.Rank + 1) % ranks, previous = (group.Rank + ranks - 1) % ranks;
        byte[] room = new byte[700];
        for (uint round = 0; round < 20; round++)
        {
            group.Messages.SendBuffered(next, round, Enumerable.Repeat((byte)group.Rank, 700).ToArray());
            group.Messages.Receive(previous, round, room);
            Assert.All(room, value => Assert.Equal(previous, value));
        }
    }, WaitStrategy.Automatic);

    [Fact]
    public void A_rank_can_send_to_itself() => TestGroup.Run(TestGroup.Geometry(1), group =>
    {
        group.Messages.SendBuffered(0, 1, new byte[500]);
        Assert.Equal(500, group.Messages.Receive(0, 1, new byte[500]));
    });

    [Fact]
    public unsafe void Queued_messages_end_when_they_are_cancelled_or_the_peer_is_gone()
    {
        string name = TestGroup.Name();
        using Barrier may = new(2);
        Thread leaver = new(() =>
        {
            using Communicator group = Communicator.Join(TestGroup.Options(name, 1, TestGroup.Geometry(2)));
            may.SignalAndWait();
        });
        leaver.Start();
        using Communicator group = Communicator.Join(TestGroup.Options(name, 0, TestGroup.Geometry(2)));
        byte* memory = (byte*)NativeMemory.AllocZeroed(8000);
        Assert.True(group.Messages.TryPostReceive(1, 1, (nint)memory, 100, 5));
        Assert.Equal(0, group.Messages.DoWork());
        group.Messages.Cancel(1);
        Assert.True(group.Messages.TryComplete(out Completion cancelled));
        Assert.Equal((5ul, Progress.Cancelled), (cancelled.Token, cancelled.Outcome));
        Assert.True(group.Messages.TryPost(1, 2, (nint)memory, 8000, 6)); // more than the ring holds
        Assert.True(group.Messages.TryPostReceive(1, 3, (nint)memory, 100, 7));
        may.SignalAndWait();
        leaver.Join();
        while (group.Messages.DoWork() == 0)
            Thread.Yield();
        Assert.True(group.Messages.TryComplete(out Completion sending));
        Assert.True(group.Messages.TryComplete(out Completion receiving));
        Assert.Equal((6ul, Progress.Lost, 7ul, Progress.Lost), (sending.Token, sending.Outcome, receiving.Token, receiving.Outcome));
        Assert.False(group.Messages.TryComplete(out _));
        Assert.Throws<PeerLostException>(() => group.Messages.TryPost(1, 4, (nint)memory, 1, 8));
        NativeMemory.Free(memory);
    }

    [Fact]
    public void A_lent_message_is_read_where_it_lies() => TestGroup.Run(TestGroup.Geometry(2), group =>
    {
        for (byte round = 1; round < 20; round++)
        {
            if (group.Rank == 0)
            {
                group.App[..5000].Fill(round);
                group.Messages.Lend(1, round, 0, 5000);
                continue;
            }
            ReadOnlySpan<byte> lent = group.Messages.Borrow(0, round);
            Assert.Equal(5000, lent.Length);
            Assert.False(lent.ContainsAnyExcept(round));
            group.Messages.GiveBack(0);
        }
    });

    [Fact]
    public void Another_event_or_too_little_room_leaves_the_message() => TestGroup.Run(TestGroup.Geometry(2), group =>
    {
        if (group.Rank == 0)
        {
            group.Messages.Send(1, 7, new byte[600]);
            return;
        }
        MessageException other = Assert.Throws<MessageException>(() => group.Messages.Receive(0, 8, new byte[600]));
        Assert.Contains("sent event 7 where event 8", other.Message, StringComparison.Ordinal);
        Assert.Throws<MessageException>(() => group.Messages.Receive(0, 7, new byte[599]));
        Assert.True(group.Messages.TryPeek(0, out uint eventId, out long bytes));
        Assert.Equal((7u, 600L), (eventId, bytes));
        Assert.Equal(600, group.Messages.Receive(0, 7, new byte[600]));
    });

    [Fact]
    public void What_a_rank_sent_before_it_left_can_still_be_received()
    {
        string name = TestGroup.Name();
        using Barrier left = new(2);
        Thread leaver = new(() =>
        {
            using (Communicator group = Communicator.Join(TestGroup.Options(name, 1, TestGroup.Geometry(2))))
                group.Messages.SendBuffered(0, 1, new byte[600]);
            left.SignalAndWait();
        });
        leaver.Start();
        using Communicator group = Communicator.Join(TestGroup.Options(name, 0, TestGroup.Geometry(2)));
        left.SignalAndWait();
        Assert.Contains("left", Assert.Throws<PeerLostException>(() => group.Messages.Send(1, 2, [1])).Message, StringComparison.Ordinal);
        Assert.Equal(600, group.Messages.Receive(1, 1, new byte[600]));
        Assert.Throws<PeerLostException>(() => group.Messages.Receive(1, 2, new byte[600]));
        leaver.Join();
    }

    [Theory]
    [InlineData(WaitStrategy.Spin)]
    [InlineData(WaitStrategy.Block)]
    public void Time_outs_name_the_peer_and_the_event(WaitStrategy strategy) => TestGroup.Run(TestGroup.Geometry(2), group =>
    {
        if (group.Rank == 0)
        {
            XcclTimeoutException silence = Assert.Throws<XcclTimeoutException>(() => group.Messages.Receive(1, 31, new byte[8], Short));
            Assert.Equal((1, 31u), (silence.PeerRank, silence.EventId));
            Assert.Contains("Rank 1 sent no message within 0.08 s (event 31)", silence.Message, StringComparison.Ordinal);
            Assert.Contains("did not acknowledge", Assert.Throws<XcclTimeoutException>(() => group.Messages.Send(1, 32, new byte[8], Short)).Message, StringComparison.Ordinal);
            Assert.Contains("did not make room", Assert.Throws<XcclTimeoutException>(() => group.Messages.Send(1, 33, new byte[5000], Short)).Message, StringComparison.Ordinal);
        }
        group.Collectives.Barrier();
        // What was given up in the middle is announced as such, and the next message comes through.
        if (group.Rank == 0)
        {
            group.Messages.Send(1, 34, new byte[2000]);
            return;
        }
        byte[] room = new byte[5000];
        Assert.Equal(8, group.Messages.Receive(0, 32, room));
        Assert.Contains("gave up event 33", Assert.Throws<MessageException>(() => group.Messages.Receive(0, 33, room)).Message, StringComparison.Ordinal);
        Assert.Equal(2000, group.Messages.Receive(0, 34, room));
    }, strategy);

    [Fact]
    public void A_receiver_that_gives_up_in_the_middle_gets_the_next_message() => TestGroup.Run(TestGroup.Geometry(2), group =>
    {
        if (group.Rank == 0)
        {
            using CancellationTokenSource stop = new(Short);
            Assert.Throws<OperationCanceledException>(() => group.Messages.Send(1, 1, new byte[5000], cancel: stop.Token));
            group.Collectives.Barrier();
            group.Collectives.Barrier();
            group.Messages.Send(1, 2, [1, 2, 3]);
            return;
        }
        group.Collectives.Barrier();
        Assert.Throws<XcclTimeoutException>(() => group.Messages.Receive(0, 1, new byte[5000], Short)); // four chunks, then nothing
        group.Collectives.Barrier();
        byte[] room = new byte[3];
        Assert.Equal(3, group.Messages.Receive(0, 2, room));
        Assert.Equal([1, 2, 3], room);
    });

    [Fact]
    public void A_receiver_that_gives_up_twice_gets_nothing_of_the_message_that_it_left() => TestGroup.Run(TestGroup.Geometry(2), group =>
    {
        if (group.Rank == 0)
        {
            byte[] large = new byte[5000]; // more than the ring's four slots
            large.AsSpan().Fill(9);
            group.Messages.Send(1, 1, large);
            group.Messages.Send(1, 1, [1, 2, 3]);
            return;
        }
        unsafe
        {
            // Some chunks are taken, no more: the rest is still to come when the next receive is given up as well.
            byte* room = (byte*)NativeMemory.Alloc(5000);
            Assert.True(group.Messages.TryPostReceive(0, 1, (nint)room, 5000, 0));
            for (uint found = 0; found == 0;)
                group.Messages.TryPeek(0, out found, out _);
            group.Messages.DoWork();
            group.Messages.Cancel(0);
            Assert.True(group.Messages.TryPostReceive(0, 1, (nint)room, 5000, 0));
            group.Messages.Cancel(0);
            NativeMemory.Free(room);
        }
        byte[] small = new byte[5000];
        Assert.Equal(3, group.Messages.Receive(0, 1, small));
        Assert.Equal([1, 2, 3], small[..3]);
    });

    [Fact]
    public void What_a_rank_posted_before_it_left_still_arrives()
    {
        string name = TestGroup.Name();
        using Barrier left = new(2);
        Thread leaver = new(() =>
        {
            using (Communicator group = Communicator.Join(TestGroup.Options(name, 1, TestGroup.Geometry(2))))
                group.Messages.SendBuffered(0, 1, new byte[600]);
            left.SignalAndWait();
        });
        leaver.Start();
        using Communicator group = Communicator.Join(TestGroup.Options(name, 0, TestGroup.Geometry(2)));
        left.SignalAndWait();
        Assert.Throws<PeerLostException>(() => group.Messages.Send(1, 2, [1]));
        Assert.True(group.Messages.TryPeek(1, out uint eventId, out long bytes));
        Assert.Equal((1u, 600L), (eventId, bytes));
        Assert.Equal(600, group.Messages.Receive(1, 1, new byte[600]));
        Assert.Throws<PeerLostException>(() => group.Messages.TryPeek(1, out _, out _));
        leaver.Join();
    }

    [Fact]
    public void A_rank_that_has_left_or_does_not_exist_is_refused()
    {
        Communicator group = Communicator.Join(TestGroup.Options(TestGroup.Name(), 0, TestGroup.Geometry(1)));
        foreach (int rank in (int[])[-1, 1])
        {
            Assert.Contains("ranks 0 to 0", Assert.Throws<ArgumentOutOfRangeException>(() => group.Messages.Send(rank, 0, [])).Message, StringComparison.Ordinal);
            Assert.Throws<ArgumentOutOfRangeException>(() => group.Messages.Receive(rank, 0, []));
            Assert.Throws<ArgumentOutOfRangeException>(() => group.Collectives.Broadcast(rank, new byte[8]));
        }
        Assert.Throws<ArgumentOutOfRangeException>(() => group.Messages.TryPost(0, 0, 0, -1, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => group.Messages.TryPostReceive(0, 0, 0, -1, 0));
        group.Dispose();
        group.Dispose();
        Assert.Throws<ObjectDisposedException>(() => group.Messages.Send(0, 0, []));
        Assert.Throws<ObjectDisposedException>(() => group.Messages.Receive(0, 0, []));
        Assert.Throws<ObjectDisposedException>(() => group.Collectives.Barrier());
        Assert.Throws<ObjectDisposedException>(() => _ = group.AppAddress);
    }

    [Fact]
    public void Nothing_is_allocated_for_a_message() => TestGroup.Run(TestGroup.Geometry(2), group =>
    {
        byte[] small = new byte[8], large = new byte[3000];
        long before = 0;
        for (uint round = 0; round < 2000; round++)
        {
            if (round == 1000)
                before = GC.GetAllocatedBytesForCurrentThread();
            if (group.Rank == 0)
            {
                group.Messages.Send(1, round, small);
                group.Messages.SendBuffered(1, round, large);
                group.Messages.Receive(1, round, small);
            }
            else
            {
                group.Messages.Receive(0, round, small);
                group.Messages.Receive(0, round, large);
                group.Messages.Send(0, round, small);
            }
        }
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }, WaitStrategy.Yield);

    [Fact]
    public unsafe void Stamps_of_another_epoch_are_refused()
    {
        byte* memory = (byte*)NativeMemory.AlignedAlloc(8192, 64);
        new Span<byte>(memory, 8192).Clear();
        MappedWords words = new(memory);
        RingSender<MappedWords> old = new(words, 0, words, 4096, 4, Stamps.OfPair(10, 20));
        old.Publish(new ChunkHead(1, 0, 0, ChunkKinds.Last | ChunkKinds.Inline, 0), []);
        RingReceiver<MappedWords> receiver = new(words, 0, words, 4096, 4, Stamps.OfPair(11, 20));
        Assert.False(receiver.TryPeek(out _));
        RingSender<MappedWords> current = new(words, 0, words, 4096, 4, Stamps.OfPair(20, 11));
        current.Publish(new ChunkHead(2, 0, 0, ChunkKinds.Last | ChunkKinds.Inline, 0), []);
        Assert.True(receiver.TryPeek(out ChunkHead head));
        Assert.Equal(2u, head.EventId);
        NativeMemory.AlignedFree(memory);
    }

    [Fact]
    public void Collectives_equal_their_twins() => TestGroup.Run(TestGroup.Geometry(7), group =>
    {
        Random random = new(3);
        byte[] all = new byte[7 * 128];
        for (int round = 0; round < 60; round++)
        {
            int length = random.Next(129), root = random.Next(7);
            byte[][] records = [.. Enumerable.Range(0, 7).Select(_ => Bytes(random, length))];
            group.Collectives.AllGather(records[group.Rank], all);
            Assert.Equal(records.SelectMany(record => record), all[..(7 * length)]);
            byte[] news = Bytes(random, random.Next(700));
            byte[] heard = group.Rank == root ? [.. news] : new byte[news.Length];
            group.Collectives.Broadcast(root, heard);
            Assert.Equal(news, heard);
        }
    });

    private static byte[] Bytes(Random random, int length)
    {
        byte[] bytes = new byte[length];
        random.NextBytes(bytes);
        return bytes;
    }
}
