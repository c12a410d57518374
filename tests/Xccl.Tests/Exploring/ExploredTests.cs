using XDeepServe.Xccl.Exchanges;
using XDeepServe.Xccl.Memory;
using XDeepServe.Xccl.Messages;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Xccl.Tests.Exploring;

/// <summary>
/// The protocols under every order of their accesses with up to two preemptions, and under thousands of random orders with any
/// number; and twins that are broken on purpose, which must fail.
/// </summary>
public sealed class ExploredTests
{
    private const int Random = 1500;
    private const uint Tag = 77;
    private const long Fields = 0, Slots = 1024, Acknowledgement = 1536, Words = 256;

    [Fact]
    public void A_ring_hands_every_chunk_over() => Assert.InRange(Explore(world => Ring(world, words => words, words => words, late: false)), 1000, int.MaxValue);

    [Fact]
    public void A_ring_whose_stamp_may_overtake_the_payload_fails() =>
        Fails(world => Ring(world, words => new UnorderedWords(words), words => words, late: false));

    [Fact]
    public void A_ring_whose_payload_is_written_after_its_stamp_fails() =>
        Fails(world => Ring(world, words => words, words => words, late: true));

    [Fact]
    public void Blocks_are_handed_over_and_written_again_only_when_released() =>
        Assert.InRange(Explore(world => Handshake(world, words => words, respectful: true)), 1000, int.MaxValue);

    [Fact]
    public void Two_ranks_exchange_blocks() => Assert.InRange(Explore(world => Dispatches(world), preemptions: 1), 100, int.MaxValue);

    [Fact]
    public void Blocks_announced_before_they_are_written_fail() => Fails(world => Handshake(world, words => new UnorderedWords(words), respectful: true));

    [Fact]
    public void Blocks_written_before_they_are_released_fail() => Fails(world => Handshake(world, words => words, respectful: false));

    [Fact]
    public void No_wake_up_is_lost() => Assert.InRange(Explore(world => Bell(world, words => words)), 50, int.MaxValue);

    [Fact]
    public void A_bell_without_a_fence_loses_a_wake_up() => Fails(world => Bell(world, words => new UnfencedWords(words)));

    /// <summary>Three chunks through two slots; the payload lies in the field and in the slot.</summary>
    private static void Ring<TSender, TReceiver>(World world, Func<ExploredWords, TSender> sends, Func<ExploredWords, TReceiver> receives, bool late)
        where TSender : struct, IWords
        where TReceiver : struct, IWords
    {
        world.Add(words =>
        {
            TSender mine = sends(words);
            RingSender<TSender> ring = new(mine, Fields, mine, Acknowledgement, 2, Tag);
            for (uint chunk = 1; chunk <= 3; chunk++)
            {
                while (!ring.HasRoom())
                    words.Wait();
                long slot = Slots + (ring.Slot * sizeof(ulong));
                if (!late)
                    mine.Write(slot, 100 + chunk);
                ring.Publish(new ChunkHead(chunk, chunk, 8, ChunkKinds.Last, 8), [(byte)chunk]);
                if (late)
                    mine.Write(slot, 100 + chunk);
            }
        });
        world.Add(words =>
        {
            TReceiver mine = receives(words);
            RingReceiver<TReceiver> ring = new(mine, Fields, mine, Acknowledgement, 2, Tag);
            byte[] inline = new byte[1];
            for (uint chunk = 1; chunk <= 3; chunk++)
            {
                ChunkHead head;
                while (!ring.TryPeek(out head))
                    words.Wait();
                ring.ReadInline(inline);
                Expect(head.EventId == chunk && head.ChunkId == chunk && inline[0] == chunk && mine.Read(Slots + (ring.Slot * sizeof(ulong))) == 100 + chunk);
                ring.Release(tell: true);
            }
        });
    }

    /// <summary>One rank gives another three blocks over two sets.</summary>
    private static void Handshake<TWords>(World world, Func<ExploredWords, TWords> sees, bool respectful)
        where TWords : struct, IWords
    {
        world.Add(words =>
        {
            TWords mine = sees(words);
            HandshakeSender<TWords> sender = new(mine, 0, 64, mine, 128, Tag);
            for (uint sequence = 1; sequence <= 3; sequence++)
            {
                while (respectful && !sender.MayWrite(sequence))
                    words.Wait();
                mine.Write(256 + (sequence % 2 * sizeof(ulong)), sequence * 10);
                sender.Announce(sequence, new BlockHead(sequence, 1, 0, 8, 0));
            }
        });
        world.Add(words =>
        {
            HandshakeReceiver<ExploredWords> receiver = new(words, 0, 64, words, 128, Tag);
            for (uint sequence = 1; sequence <= 3; sequence++)
                Pull(words, receiver, sequence, 256, sequence * 10);
        });
    }

    /// <summary>Two ranks give each other three blocks over two sets, as dispatch does: each pulls from the other's memory.</summary>
    private static void Dispatches(World world)
    {
        for (int rank = 0; rank < 2; rank++)
        {
            long own = rank * 1024, other = 1024 - own, id = rank;
            world.Add(words =>
            {
                HandshakeSender<ExploredWords> sender = new(words, other, other + 64, words, own + 128, Tag);
                HandshakeReceiver<ExploredWords> receiver = new(words, own, own + 64, words, other + 128, Tag);
                for (uint sequence = 1; sequence <= 3; sequence++)
                {
                    while (!sender.MayWrite(sequence))
                        words.Wait();
                    words.Write(own + 256 + (sequence % 2 * sizeof(ulong)), (sequence * 10) + (ulong)id);
                    sender.Announce(sequence, new BlockHead(sequence, 1, 0, 8, 0));
                    // A rank may announce its next block before it pulls: micro-batches overlap.
                    if (sequence == 1 && id == 0)
                        continue;
                    for (uint pulled = sequence == 2 && id == 0 ? 1 : sequence; pulled <= sequence; pulled++)
                        Pull(words, receiver, pulled, other + 256, (pulled * 10) + 1 - (ulong)id);
                }
            });
        }
    }

    private static void Pull(ExploredWords words, HandshakeReceiver<ExploredWords> receiver, uint sequence, long blocks, ulong expected)
    {
        BlockHead head;
        while (!receiver.TryArrive(sequence, out head))
            words.Wait();
        Expect(head.EventId == sequence && words.Read(blocks + (sequence % 2 * sizeof(ulong))) == expected);
        receiver.Release(sequence);
    }

    private static void Bell<TWords>(World world, Func<ExploredWords, TWords> rings)
        where TWords : struct, IWords
    {
        world.Add(words =>
        {
            Doorbell<ExploredWords> bell = new(words, 0, sleeps: true);
            for (ulong signal = 1; signal <= 2; signal++)
            {
                if (words.Read(64) >= signal)
                    continue;
                ulong seen = bell.Announce();
                while (words.Read(64) < signal)
                {
                    bell.Sleep(seen, 20);
                    seen = bell.Rings();
                }
                bell.Withdraw();
            }
        });
        world.Add(words =>
        {
            TWords mine = rings(words);
            Doorbell<TWords> bell = new(mine, 0, sleeps: true);
            for (ulong signal = 1; signal <= 2; signal++)
            {
                mine.Publish(64, signal);
                bell.Ring();
            }
        });
    }

    private static void Expect(bool holds)
    {
        if (!holds)
            throw new InvalidDataException("Bytes were seen that are not the sender's.");
    }

    private static int Explore(Action<World> program, int preemptions = 2)
    {
        int executions = 0;
        Decisions all = new();
        do
        {
            Execute(program, all, preemptions);
            executions++;
        }
        while (all.Advance());
        for (int seed = 0; seed < Random; seed++)
            Execute(program, new Decisions(new Random(seed)), preemptions: int.MaxValue);
        return executions;
    }

    private static void Fails(Action<World> program)
    {
        Exception? found = Record.Exception(() => Explore(program));
        Assert.True(found is InvalidDataException or InvalidOperationException, $"The broken twin passed: {found}");
    }

    private static void Execute(Action<World> program, Decisions decisions, int preemptions)
    {
        using World world = new(decisions, (int)Words, preemptions);
        program(world);
        world.Run();
    }
}
