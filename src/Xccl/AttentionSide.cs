using XDeepServe.Xccl.Exchanges;
using XDeepServe.Xccl.Tokens;

namespace XDeepServe.Xccl;

/// <summary>
/// A rank of attention: gives its tokens to the expert ranks (A2E) and sums their answers (E2A), directly or through its
/// trampoline. Two sends may be under way, so that micro-batches overlap. One thread at a time. [paper 3.3]
/// </summary>
public sealed unsafe class AttentionSide
{
    private readonly Communicator group;
    private readonly TokenShape shape;
    private readonly Exchange outward, homeward;
    private readonly DispatchSender sender;
    private readonly CombineReceiver collector;
    private readonly RoutePlan[] plans;
    private readonly nint[] sources;
    private uint sent, received;

    /// <summary>Sets the rank up.</summary>
    /// <param name="group">This rank; its number says that it has attention.</param>
    /// <param name="topology">Who is what, the same on all ranks.</param>
    /// <param name="shape">Shape of the rows, the same on all ranks.</param>
    /// <param name="channel">First of the channels that <see cref="Topology.Channels"/> lists.</param>
    /// <exception cref="ArgumentException">The topology does not fit the group or the geometry.</exception>
    public AttentionSide(Communicator group, Topology topology, TokenShape shape, int channel = 0)
    {
        topology.Check(group, shape, channel);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(group.Rank, topology.AttentionRanks);
        this.group = group;
        this.shape = shape;
        // To a trampoline all experts look like one consumer that has every slot.
        int[] partners = topology.Trampolines ? [topology.TrampolineOf(group.Rank)] : topology.Experts();
        int slots = topology.Trampolines ? topology.ExpertRanks * topology.SlotsPerRank : topology.SlotsPerRank;
        (outward, homeward) = (new Exchange(group, channel, [], partners), new Exchange(group, channel + 1, partners, []));
        sender = new DispatchSender(outward, shape, segments: 1);
        collector = new CombineReceiver(homeward, shape);
        plans = [new RoutePlan(shape, partners.Length, slots, segments: 1), new RoutePlan(shape, partners.Length, slots, segments: 1)];
        sources = new nint[shape.MaxTokens];
    }

    /// <summary>Sends that have not been received.</summary>
    public int UnderWay => (int)(sent - received);

    /// <summary>Gives tokens away. The rows are the caller's again on return. An empty batch is sent as well: experts wait for every rank.</summary>
    /// <param name="rows">[tokens, hidden] in the shape's element type.</param>
    /// <param name="slots">[tokens, topK] physical expert slots, -1 for none.</param>
    /// <param name="eventId">The caller's name for it, the same on all attention ranks.</param>
    /// <param name="note">A word for the experts, for example the layer.</param>
    /// <param name="timeout">Most time for the wait for room; the group's if none is given.</param>
    /// <param name="cancel">Ends the wait.</param>
    /// <exception cref="InvalidOperationException">Two sends are under way: receive the first.</exception>
    /// <exception cref="XcclException">A rank died, left or took too long.</exception>
    public void Send(ReadOnlySpan<byte> rows, ReadOnlySpan<int> slots, uint eventId = 0, ulong note = 0, TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        if (outward.Open() | homeward.Open())
            sent = received = 0;
        if (UnderWay == 2)
            throw new InvalidOperationException("Two sends are under way: receive the first before the third.");
        RoutePlan plan = plans[(sent + 1) % 2];
        plan.Clear();
        plan.Add(slots);
        if (rows.Length < (long)plan.Tokens * shape.ElementBytes)
            throw new ArgumentException($"{plan.Tokens} tokens of {shape.ElementBytes} bytes are expected, not {rows.Length} bytes.");
        outward.WaitForRoom(eventId, timeout, cancel);
        fixed (byte* source = rows)
        {
            for (int token = 0; token < plan.Tokens; token++)
                sources[token] = (nint)(source + ((long)token * shape.ElementBytes));
            sender.Write(plan, sources, encoded: false, group.Rank, eventId, note);
        }
        sent++;
    }

    /// <summary>Whether <see cref="Receive"/> would not have to wait.</summary>
    public bool HasArrived() => UnderWay > 0 && homeward.HasArrived(out _);

    /// <summary>Receives the answers to the oldest send.</summary>
    /// <param name="gates">[tokens, topK]</param>
    /// <param name="combined">[tokens, hidden]: Σ gate · row in order of k, in single precision.</param>
    /// <param name="eventId">The event of that send.</param>
    /// <param name="timeout">Most time for it; the group's if none is given.</param>
    /// <param name="cancel">Ends the wait.</param>
    /// <exception cref="InvalidOperationException">Nothing is under way.</exception>
    /// <exception cref="XcclException">A rank died, left, took too long or is at another event.</exception>
    public void Receive(ReadOnlySpan<float> gates, Span<float> combined, uint eventId = 0, TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        if (UnderWay == 0)
            throw new InvalidOperationException("Nothing is under way: send first.");
        homeward.WaitForBlocks(eventId, timeout, cancel);
        collector.Sum(plans[(received + 1) % 2], gates, combined);
        homeward.Release();
        received++;
    }
}
