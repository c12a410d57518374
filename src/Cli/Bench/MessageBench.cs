using System.Diagnostics;
using System.Globalization;
using System.Runtime.Intrinsics;
using System.Text.Json.Nodes;
using XDeepServe.Xccl;

namespace XDeepServe.Cli.Bench;

/// <summary>Latency and bandwidth of messages from rank 0 to rank 1 and back; other ranks wait.</summary>
/// <param name="group">This rank.</param>
/// <param name="largest">Bytes of the largest message.</param>
/// <param name="json">Where rank 0 leaves its results.</param>
internal sealed class MessageBench(Communicator group, int largest, JsonObject json)
{
    private const int Passes = 9;
    private static readonly TimeSpan Long = TimeSpan.FromHours(1); // the other ranks wait as long as a measurement takes
    private readonly PointToPoint messages = group.Messages;
    private readonly byte[] source = GC.AllocateArray<byte>(largest, pinned: true);
    private readonly byte[] room = GC.AllocateArray<byte>(largest, pinned: true);
    private ulong sum;

    private delegate void Transfer(int size);

    public void Run(int[] sizes)
    {
        if (group.Rank == 0)
            Console.WriteLine($"{"bytes",-10}{"one way us",12}{"p50",8}{"p99",8}{"acked us",10}{"copied GB/s",13}{"read too",10}{"lent GB/s",11}{"in place",10}");
        source.AsSpan().Fill(1);
        group.App.Fill(1);
        foreach (int size in sizes)
        {
            group.Collectives.Barrier(Long);
            if (group.Rank < 2)
                Measure(size);
        }
        group.Collectives.Barrier(Long);
    }

    private void Measure(int size)
    {
        int rounds = (int)Math.Clamp((1L << 27) / size, 20, 50_000);
        double typical = Median(() => PingPong(size, rounds, []));
        double[] samples = new double[rounds];
        PingPong(size, rounds, samples);
        Summary oneWay = new(samples);
        double acknowledged = Stream(size, rounds, message => messages.Send(1, 1, source.AsSpan(0, message)), Receive);
        double copied = Stream(size, rounds, message => messages.SendBuffered(1, 1, source.AsSpan(0, message)), Receive);
        double copiedAndRead = Stream(size, rounds, message => messages.SendBuffered(1, 1, source.AsSpan(0, message)), message =>
        {
            Receive(message);
            sum += Read(room.AsSpan(0, message));
        });
        double lent = Stream(size, rounds, message => messages.Lend(1, 1, 0, message), Receive);
        double inPlace = Stream(size, rounds, message => messages.Lend(1, 1, 0, message), _ =>
        {
            sum += Read(messages.Borrow(0, 1));
            messages.GiveBack(0);
        });
        if (group.Rank != 0)
            return;
        double Rate(double seconds) => size / seconds / 1e9;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{size,-10}{typical * 1e6,12:F3}{oneWay.Median * 1e6,8:F3}{oneWay.Percentile(99) * 1e6,8:F3}{acknowledged * 1e6,10:F3}{Rate(copied),13:F2}{Rate(copiedAndRead),10:F2}{Rate(lent),11:F2}{Rate(inPlace),10:F2}"));
        json[$"message_{size}"] = new JsonObject
        {
            ["one_way_us"] = typical * 1e6,
            ["p50_us"] = oneWay.Median * 1e6,
            ["p99_us"] = oneWay.Percentile(99) * 1e6,
            ["acknowledged_us"] = acknowledged * 1e6,
            ["copied_gb_per_s"] = Rate(copied),
            ["copied_and_read_gb_per_s"] = Rate(copiedAndRead),
            ["lent_gb_per_s"] = Rate(lent),
            ["in_place_gb_per_s"] = Rate(inPlace),
        };
    }

    /// <summary>The median of some passes, after one that warms up.</summary>
    private static double Median(Func<double> pass)
    {
        pass();
        return new Summary(Enumerable.Range(0, Passes).Select(_ => pass()).ToArray()).Median;
    }

    /// <summary>Seconds of one way, the mean of a pass; each round's into <paramref name="samples"/> if there is room.</summary>
    private double PingPong(int size, int rounds, double[] samples)
    {
        int peer = 1 - group.Rank;
        ReadOnlySpan<byte> message = source.AsSpan(0, size);
        Span<byte> answer = room.AsSpan(0, size);
        long start = Stopwatch.GetTimestamp(), last = start;
        for (int round = 0; round < rounds; round++)
        {
            if (group.Rank == 0)
                messages.SendBuffered(peer, 0, message);
            messages.Receive(peer, 0, answer);
            if (group.Rank == 1)
                messages.SendBuffered(peer, 0, message);
            if (samples.Length == 0)
                continue;
            long now = Stopwatch.GetTimestamp();
            samples[round] = Stopwatch.GetElapsedTime(last, now).TotalSeconds / 2;
            last = now;
        }
        return Stopwatch.GetElapsedTime(start).TotalSeconds / rounds / 2;
    }

    /// <summary>Seconds of one message when many follow each other, until the last has been taken.</summary>
    private double Stream(int size, int rounds, Transfer send, Transfer receive) => Median(() =>
    {
        long start = Stopwatch.GetTimestamp();
        for (int round = 0; round < rounds; round++)
        {
            if (group.Rank == 0)
                send(size);
            else
                receive(size);
        }
        if (group.Rank == 0)
            messages.Send(1, 2, []);
        else
            messages.Receive(0, 2, []);
        return Stopwatch.GetElapsedTime(start).TotalSeconds / rounds;
    });

    private void Receive(int size) => messages.Receive(0, 1, room.AsSpan(0, size));

    /// <summary>Touches every byte, as a consumer would.</summary>
    private static ulong Read(ReadOnlySpan<byte> bytes)
    {
        Vector512<ulong> sums = default;
        for (; bytes.Length >= Vector512<byte>.Count; bytes = bytes[Vector512<byte>.Count..])
            sums += Vector512.Create(bytes).AsUInt64();
        return Vector512.Sum(sums);
    }
}
