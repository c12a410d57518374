using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using XDeepServe.Xccl;
using XDeepServe.Xccl.Tokens;

namespace XDeepServe.Cli.Bench;

/// <summary>
/// Tokens from attention ranks to expert ranks and back (A2E, E2A), one batch at a time; the experts' rows stand ready, so that
/// only the way is measured.
/// </summary>
/// <param name="group">This rank.</param>
/// <param name="topology">Who is what.</param>
/// <param name="shape">Shape of the rows.</param>
/// <param name="channel">First channel of the topology.</param>
/// <param name="rounds">Batches of each measurement.</param>
/// <param name="json">Where rank 0 leaves its results.</param>
internal sealed class ApartBench(Communicator group, Topology topology, TokenShape shape, int channel, int rounds, JsonObject json)
{
    private readonly int warmUp = 1 + (rounds / 4);

    public void Run(int[] tokens)
    {
        if (group.Rank == 0)
            Console.WriteLine($"{$"A2E, E2A {(topology.Trampolines ? "by trampoline" : "direct")}",-28}{"there and back us p50",22}{"p99",9}");
        if (group.Rank < topology.AttentionRanks)
            Attend(new AttentionSide(group, topology, shape, channel), tokens);
        else
            Compute(new ExpertSide(group, topology, shape, channel), tokens.Length);
    }

    private void Attend(AttentionSide side, int[] tokens)
    {
        byte[] rows = new byte[shape.MaxTokens * shape.ElementBytes];
        float[] combined = new float[shape.MaxTokens * shape.Hidden];
        MemoryMarshal.Cast<byte, ushort>(rows.AsSpan()).Fill(0x3F80);
        foreach (int count in tokens)
        {
            int[] slots = RandomSlots.Draw(group.Rank + 1, count, shape.TopK, topology.ExpertRanks * topology.SlotsPerRank);
            float[] gates = [.. Enumerable.Repeat(1f / shape.TopK, slots.Length)];
            double[] taken = new double[rounds];
            for (int round = -warmUp; round < rounds; round++)
            {
                long start = Stopwatch.GetTimestamp();
                side.Send(rows.AsSpan(0, count * shape.ElementBytes), slots);
                side.Receive(gates, combined);
                if (round >= 0)
                    taken[round] = Stopwatch.GetElapsedTime(start).TotalMicroseconds;
            }
            if (group.Rank == 0)
                Report(count, new Summary(taken));
        }
    }

    private void Compute(ExpertSide side, int measurements)
    {
        byte[] received = new byte[side.MaxReceived * shape.ElementBytes], outputs = new byte[received.Length * shape.TopK];
        MemoryMarshal.Cast<byte, ushort>(outputs.AsSpan()).Fill(0x3F80);
        for (int batch = 0; batch < measurements * (warmUp + rounds); batch++)
            side.Return(side.Receive(received), outputs);
        side.Drain();
    }

    private void Report(int count, Summary taken)
    {
        string ranks = $"{topology.AttentionRanks} : {topology.ExpertRanks} ranks";
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{$"{ranks}, {count} tokens",-28}{taken.Median,22:F1}{taken.Percentile(99),9:F1}"));
        json[$"apart_{(topology.Trampolines ? "trampoline" : "direct")}_{topology.AttentionRanks}_{topology.ExpertRanks}_{count}"] = new JsonObject
        {
            ["p50_us"] = taken.Median,
            ["p99_us"] = taken.Percentile(99),
        };
    }
}
