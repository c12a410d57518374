using System.Diagnostics;
using System.Runtime.InteropServices;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Kernels;
using XDeepServe.Xccl.Tokens;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// The way from a rank's rows to experts on other ranks and back. Rows are sent at <see cref="Begin"/> and their sums received at
/// <see cref="End"/>; two batches may be under way. A batch larger than an exchange takes goes in several rounds, as many on
/// every rank: whoever has fewer rows sends empty ones. One thread at a time; allocates nothing while it runs.
/// </summary>
public sealed class ExpertExchange
{
    private readonly Transit[] transits;
    private readonly int rank, chosen; // chosen: experts of a token that its router chooses
    private readonly long sliceTicks;
    private readonly int[] rounds = new int[2];
    private RoutingTable[] tables = []; // [layers with experts]
    private readonly ExpertCounter counter;
    private ExchangeRoute? route;
    private int parts = 1;
    private uint begun, ended, step;
    private long opened, sliceEnds;

    /// <summary>Takes memory; <see cref="Connect"/> comes before the first step.</summary>
    /// <param name="shape">Shape of the rows of one exchange; one more expert for a token than the router chooses where ranks have shared experts.</param>
    /// <param name="layout">Where the experts are.</param>
    /// <param name="mostRows">Most rows of this rank in a step.</param>
    /// <param name="rank">This rank among those that route: each enters replicas at a different one.</param>
    /// <param name="slices">Slices of time in which choices are counted.</param>
    /// <param name="slice">Length of one.</param>
    public ExpertExchange(TokenShape shape, ExpertLayout layout, int mostRows, int rank, int slices = 1, TimeSpan slice = default)
    {
        (Shape, Layout, this.rank, chosen) = (shape, layout, rank, shape.TopK - (layout.Shared ? 1 : 0));
        counter = new ExpertCounter(layout.Layers.Count, layout[0].Experts, slices);
        sliceTicks = slice > TimeSpan.Zero ? (long)(slice.TotalSeconds * Stopwatch.Frequency) : long.MaxValue / 2;
        transits = [new Transit(shape, mostRows), new Transit(shape, mostRows)];
    }

    /// <summary>Shape of the rows of one exchange.</summary>
    public TokenShape Shape { get; }

    /// <summary>Where the experts are.</summary>
    public ExpertLayout Layout { get; private set; }

    /// <summary>(row, expert) pairs that this rank has sent.</summary>
    public long DispatchedRows { get; private set; }

    /// <summary>Steps opened.</summary>
    public long Steps { get; private set; }

    /// <summary>Rows that this rank has routed in all of them, once for a step.</summary>
    public long RoutedRows { get; private set; }

    /// <summary>What the last step took, from its opening to the last sums; zero before the first.</summary>
    public TimeSpan StepTime { get; private set; }

    /// <summary>What the stages of this rank's steps take.</summary>
    public AttentionTimes Times { get; init; } = new();

    /// <summary>Goes another way from the next step on.</summary>
    /// <param name="next">The way; stays the caller's.</param>
    /// <param name="layout">Where the experts are on it.</param>
    internal void Connect(ExchangeRoute next, ExpertLayout layout)
    {
        (route, Layout) = (next, layout);
        step = 0; // some ranks may have begun a step that others have not, and some may be new
        tables = [.. Enumerable.Range(0, layout.Layers.Count).Select(place => TableFor(layout, place))];
    }

    /// <summary>The table by which this rank would route a layer's rows. Any thread.</summary>
    internal RoutingTable TableFor(ExpertLayout layout, int place)
    {
        ExpertPlacement targets = layout.Targets(place);
        return new RoutingTable(targets, Positions(targets), rank);
    }

    /// <summary>Routes a layer in another way from the next step on.</summary>
    /// <param name="place">The layer, counted among those with experts.</param>
    /// <param name="layout">Where the experts are now.</param>
    /// <param name="table">From <see cref="TableFor"/>.</param>
    internal void Follow(int place, ExpertLayout layout, RoutingTable table) => (Layout, tables[place]) = (layout, table);

    /// <summary>Copies the tokens that this rank has routed to each expert in the last slices. Any thread: what is counted meanwhile may be in or not.</summary>
    internal void CopyLoad(ExpertLoad load) => counter.CopyTo(load);

    /// <summary>Makes each step take longer.</summary>
    internal TimeSpan Lag { get; set; }

    /// <summary>Says what the step's batches need, the same on all ranks.</summary>
    /// <param name="first">Rounds of the first part of a step.</param>
    /// <param name="second">Rounds of the second; 0 if steps have one part.</param>
    public void Open(int first, int second)
    {
        (rounds[0], rounds[1], parts) = (first, second, second > 0 ? 2 : 1);
        (begun, ended) = (0, 0);
        step++;
        Steps++;
        opened = Stopwatch.GetTimestamp();
        if (opened >= sliceEnds)
        {
            if (sliceEnds != 0)
                counter.Advance();
            sliceEnds = opened + sliceTicks;
        }
        Times.Open();
        if (Lag > TimeSpan.Zero)
            Thread.Sleep(Lag);
    }

    /// <summary>Sends rows to their experts.</summary>
    /// <param name="backend">Holds the tensors.</param>
    /// <param name="place">The layer, counted among those with experts.</param>
    /// <param name="input">F32 <c>[tokens, hidden]</c>; may be without rows.</param>
    /// <param name="ids">I32 <c>[tokens, topK]</c>: logical experts.</param>
    /// <param name="gates">F32 <c>[tokens, topK]</c>.</param>
    public void Begin(Backend backend, int place, Tensor input, Tensor ids, Tensor gates)
    {
        Transit transit = transits[begun % 2];
        transit.Part = (int)(begun++ % parts);
        (transit.Rows, transit.Place) = (input.Rows, place);
        if (transit.Rows > 0)
        {
            backend.Download(input, transit.Values.AsSpan(0, transit.Rows * Shape.Hidden));
            Span<int> slots = transit.Slots.AsSpan(0, transit.Rows * Shape.TopK);
            Span<float> weights = transit.Gates.AsSpan(0, transit.Rows * Shape.TopK);
            backend.Download(ids, slots[..(transit.Rows * chosen)]);
            backend.Download(gates, weights[..(transit.Rows * chosen)]);
            counter.Count(place, slots[..(transit.Rows * chosen)]);
            if (chosen < Shape.TopK)
            {
                // Behind the others, so that the sum has the order of one engine's.
                Widen(slots, Layout[place].Experts);
                Widen(weights, 1);
            }
            RoutedRows += place == 0 ? transit.Rows : 0;
            tables[place].Map(slots, Shape.TopK, slots);
            DispatchedRows += slots.Length;
        }
        Send(transit, 0);
    }

    /// <summary>Receives the sums of the oldest rows under way.</summary>
    /// <param name="backend">Holds the tensors.</param>
    /// <param name="output">F32 <c>[tokens, hidden]</c>; empty if there were no rows.</param>
    /// <param name="shared">F32 <c>[tokens, hidden]</c>, added to them; may be empty.</param>
    public void End(Backend backend, Tensor output, Tensor shared)
    {
        Transit transit = transits[ended++ % 2];
        StepTime = Stopwatch.GetElapsedTime(opened);
        int count = rounds[transit.Part];
        for (int round = 0; round < count; round++)
        {
            Receive(transit, round);
            if (round + 1 < count)
                Send(transit, round + 1);
        }
        if (transit.Rows == 0)
            return;
        backend.Upload<float>(output, transit.Sums.AsSpan(0, transit.Rows * Shape.Hidden));
        if (!shared.IsEmpty)
            backend.Add(output, shared);
    }

    /// <summary>Makes rows of as many values as the router chose into rows with one more.</summary>
    private void Widen<T>(Span<T> values, T last)
    {
        for (int row = (values.Length / Shape.TopK) - 1; row >= 0; row--)
        {
            values.Slice(row * chosen, chosen).CopyTo(values[(row * Shape.TopK)..]);
            values[(row * Shape.TopK) + chosen] = last;
        }
    }

    /// <summary>A table whose columns close: as many rows as the least common multiple of the experts' copies, if that is small.</summary>
    private static int Positions(ExpertPlacement placement)
    {
        const int Most = 1024;
        int positions = 1;
        for (int expert = 0; expert < placement.Experts; expert++)
        {
            int copies = placement.SlotsOf(expert).Length, a = positions, b = copies;
            while (b != 0)
                (a, b) = (b, a % b);
            if ((long)positions / a * copies > Most)
                return Most;
            positions = positions / a * copies;
        }
        return positions;
    }

    private void Send(Transit transit, int round)
    {
        Times.BeforeSend();
        route!.Send(Round(transit, round));
        Times.AfterSend();
    }

    private void Receive(Transit transit, int round)
    {
        Times.BeforeReceive();
        route!.Receive(Round(transit, round));
        Times.AfterReceive();
    }

    private Parcel Round(Transit transit, int round)
    {
        int first = Math.Min(transit.Rows, round * Shape.MaxTokens), count = Math.Min(transit.Rows - first, Shape.MaxTokens);
        return new Parcel(
            Layout.Layers[transit.Place], transit.Part, (step << 12) ^ (uint)((transit.Place << 4) | (transit.Part << 3) | (round & 7)),
            MemoryMarshal.AsBytes(transit.Values.AsSpan(first * Shape.Hidden, count * Shape.Hidden)),
            transit.Slots.AsSpan(first * Shape.TopK, count * Shape.TopK),
            transit.Gates.AsSpan(first * Shape.TopK, count * Shape.TopK),
            transit.Sums.AsSpan(first * Shape.Hidden, count * Shape.Hidden));
    }

    /// <summary>A batch under way, in host memory.</summary>
    private sealed class Transit(TokenShape shape, int mostRows)
    {
        public float[] Values { get; } = new float[mostRows * shape.Hidden]; // [rows, hidden]

        public int[] Slots { get; } = new int[mostRows * shape.TopK]; // [rows, topK]

        public float[] Gates { get; } = new float[mostRows * shape.TopK]; // [rows, topK]

        public float[] Sums { get; } = new float[mostRows * shape.Hidden]; // [rows, hidden]

        public int Rows { get; set; }

        public int Place { get; set; }

        public int Part { get; set; }
    }
}
