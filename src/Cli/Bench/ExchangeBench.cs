using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using XDeepServe.Xccl;
using XDeepServe.Xccl.Tokens;

namespace XDeepServe.Cli.Bench;

/// <summary>Dispatch and combine among all ranks, routed at random; the experts' rows stand ready, so that only the way is measured.</summary>
/// <param name="group">This rank.</param>
/// <param name="exchange">What is measured.</param>
/// <param name="shape">Its shape.</param>
/// <param name="slotsPerRank">Its slots.</param>
/// <param name="rounds">Exchanges of each measurement.</param>
/// <param name="json">Where rank 0 leaves its results.</param>
internal sealed class ExchangeBench(Communicator group, AllToAll exchange, TokenShape shape, int slotsPerRank, int rounds, JsonObject json)
{
    public void Run(int[] tokens)
    {
        if (group.Rank == 0)
            Console.WriteLine($"{$"{shape.DispatchWire}, {shape.Hidden} values, top {shape.TopK}",-28}{"dispatch us p50",16}{"p99",9}{"combine us p50",16}{"p99",9}{"both p50",10}{"counted MB",12}{"GB/s",8}{"moved MB",10}{"GB/s",8}");
        byte[] rows = new byte[shape.MaxTokens * shape.ElementBytes];
        byte[] received = new byte[exchange.MaxReceived * shape.ElementBytes];
        byte[] outputs = new byte[received.Length * shape.TopK];
        float[] combined = new float[shape.MaxTokens * shape.Hidden];
        MemoryMarshal.Cast<byte, ushort>(rows.AsSpan()).Fill(0x3F80);
        MemoryMarshal.Cast<byte, ushort>(outputs.AsSpan()).Fill(0x3F80);
        foreach (int count in tokens)
            Measure(count, rows, received, outputs, combined);
    }

    private void Measure(int count, byte[] rows, byte[] received, byte[] outputs, float[] combined)
    {
        int[] slots = RandomSlots.Draw(group.Rank + 1, count, shape.TopK, group.Ranks * slotsPerRank);
        float[] gates = [.. Enumerable.Repeat(1f / shape.TopK, slots.Length)];
        double[] dispatch = new double[rounds], combine = new double[rounds], both = new double[rounds];
        TokenTraffic traffic = default;
        for (int round = -rounds / 4; round < rounds; round++)
        {
            long start = Stopwatch.GetTimestamp();
            DispatchHandle handle = exchange.Dispatch(rows.AsSpan(0, count * shape.ElementBytes), slots, received);
            long middle = Stopwatch.GetTimestamp();
            exchange.Combine(handle, outputs, gates, combined);
            long end = Stopwatch.GetTimestamp();
            if (round < 0)
                continue;
            dispatch[round] = Stopwatch.GetElapsedTime(start, middle).TotalMicroseconds;
            combine[round] = Stopwatch.GetElapsedTime(middle, end).TotalMicroseconds;
            both[round] = Stopwatch.GetElapsedTime(start, end).TotalMicroseconds;
            traffic = handle.Traffic;
        }
        if (group.Rank != 0)
            return;
        Summary there = new(dispatch), back = new(combine), sum = new(both);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{$"{group.Ranks} ranks, {count} tokens",-28}{there.Median,16:F1}{there.Percentile(99),9:F1}{back.Median,16:F1}{back.Percentile(99),9:F1}{sum.Median,10:F1}{traffic.Counted / 1e6,12:F2}{traffic.Counted / sum.Median / 1e3,8:F2}{traffic.Moved / 1e6,10:F2}{traffic.Moved / sum.Median / 1e3,8:F2}"));
        json[$"exchange_{shape.DispatchWire}_{count}"] = new JsonObject
        {
            ["ranks"] = group.Ranks,
            ["dispatch_p50_us"] = there.Median,
            ["dispatch_p99_us"] = there.Percentile(99),
            ["combine_p50_us"] = back.Median,
            ["combine_p99_us"] = back.Percentile(99),
            ["both_p50_us"] = sum.Median,
            ["bytes_counted"] = traffic.Counted,
            ["bytes_moved"] = traffic.Moved,
        };
    }
}
