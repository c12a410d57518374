using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using XDeepServe.FlowServe;
using XDeepServe.FlowServe.DistFlow;
using XDeepServe.Models;

namespace XDeepServe.Cli.Bench;

/// <summary><c>xds bench transfer</c>: keys and values of prompts from one engine to another over their link, beside a plain copy of as many bytes.</summary>
internal sealed class BenchTransferCommand : Command
{
    private readonly Option<int[]> positions = new("--positions")
    {
        Description = "Tokens of the prompts.",
        AllowMultipleArgumentsPerToken = true,
        DefaultValueFactory = _ => [512, 1024, 2048, 4096],
    };

    private readonly Option<int> rounds = new("--num-iters") { Description = "Transfers of each length.", DefaultValueFactory = _ => 10 };
    private readonly Option<int?> otherSize = new("--other-block-size") { Description = "Positions in a block of the cache that receives (default: the same)." };
    private readonly Option<int> chunk = new("--chunk-bytes") { Description = "Bytes that are copied at a time.", DefaultValueFactory = _ => new LinkOptions().ChunkBytes };
    private readonly EngineFlags engine;

    public BenchTransferCommand() : base("transfer", "Measures the transfer of keys and values between two engines.")
    {
        foreach (Option option in new Option[] { positions, rounds, otherSize, chunk })
            Options.Add(option);
        engine = new EngineFlags(this);
        SetAction(Run);
    }

    private async Task<int> Run(ParseResult result, CancellationToken cancel)
    {
        EngineSettings settings = engine.Read(result) with { SkipTokenizer = true };
        settings = settings with { Engine = settings.Engine with { PrefixCaching = false, HoldLease = TimeSpan.FromMinutes(1) } };
        using LoadedEngine from = LoadedEngine.Open(settings);
        using LoadedEngine to = LoadedEngine.Open(settings with { Engine = settings.Engine with { BlockSize = result.GetValue(otherSize) ?? settings.Engine.BlockSize } });
        LinkOptions links = new() { ChunkBytes = result.GetValue(chunk) };
        string name = $"bench{Environment.ProcessId}";
        using DistFlow source = new(from.Shell, name, (_, _, _) => Task.CompletedTask, links);
        using DistFlow target = new(to.Shell, $"{name}_decode", (_, link, _) =>
        {
            source.Serve(link);
            return Task.CompletedTask;
        }, links);
        CacheLayout layout = from.Model.Cache;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{settings.Name}: {layout.BytesPerPosition} bytes a position ({layout.Layers.Count} layers, {layout.Type}), blocks of {from.Shell.Options.BlockSize} and {to.Shell.Options.BlockSize}, {from.Backend.Description}"));
        Random random = new(0);
        foreach (int length in result.GetValue(positions)!)
        {
            List<double> transfers = [], copies = [];
            for (int round = -2; round < result.GetValue(rounds); round++)
            {
                int[] prompt = [.. Enumerable.Range(0, length).Select(_ => random.Next(from.Model.Config.VocabularySize))];
                double transfer = await Transfer(from, to, name, target, prompt, cancel), copy = Copy(length * layout.BytesPerPosition);
                if (round < 0)
                    continue;
                transfers.Add(transfer);
                copies.Add(copy);
            }
            Summary moved = new(transfers), plain = new(copies);
            double bytes = length * layout.BytesPerPosition;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{length,6} positions {bytes / (1 << 20),7:F1} MiB: transfer {moved.Median * 1000:F2} ms (p90 {moved.Percentile(90) * 1000:F2}), {bytes / moved.Median / 1e9:F2} GB/s; copy {plain.Median * 1000:F2} ms, {bytes / plain.Median / 1e9:F2} GB/s; ratio {plain.Median / moved.Median:F2}"));
        }
        return 0;
    }

    /// <summary>Seconds from asking to having all of a prompt's keys and values in the other cache.</summary>
    private static async Task<double> Transfer(LoadedEngine from, LoadedEngine to, string owner, DistFlow target, int[] prompt, CancellationToken cancel)
    {
        GenerationRequest request = new()
        {
            Id = "bench",
            Prompt = prompt,
            Sampling = new SamplingParameters { Temperature = 0, MaxTokens = 2, IgnoreEos = true, Detokenize = false },
        };
        Half first = new(), second = new();
        from.Shell.Submit(request with { HandOverAfter = 1 }, first);
        KvHold hold = await first.Held.Task.WaitAsync(cancel);
        double before = target.Metrics.Seconds.Sum;
        long failures = target.Metrics.Failures;
        to.Shell.Submit(request with { Produced = [first.Token], Ticket = new KvTicket(owner, hold.Group, hold.Number, hold.Positions) }, second);
        await second.Ended.Task.WaitAsync(cancel);
        if (target.Metrics.Failures > failures)
            throw new IOException($"A transfer failed: {target.Metrics.LastFault}");
        return target.Metrics.Seconds.Sum - before;
    }

    /// <summary>Seconds of a plain copy between two buffers that were written before.</summary>
    private static unsafe double Copy(long bytes)
    {
        byte* source = (byte*)NativeMemory.Alloc((nuint)bytes), destination = (byte*)NativeMemory.Alloc((nuint)bytes);
        NativeMemory.Fill(source, (nuint)bytes, 1);
        NativeMemory.Fill(destination, (nuint)bytes, 2);
        long start = Stopwatch.GetTimestamp();
        NativeMemory.Copy(source, destination, (nuint)bytes);
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        NativeMemory.Free(source);
        NativeMemory.Free(destination);
        return seconds;
    }

    /// <summary>One half of a request.</summary>
    private sealed class Half : IOutput
    {
        public int Token { get; private set; }

        public TaskCompletionSource<KvHold> Held { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public TaskCompletionSource Ended { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public bool Aborted => false;

        public void Start(int group, int cachedTokens, TokenLogprob?[]? promptLogprobs)
        {
        }

        public void Push(in OutputEvent item)
        {
            if (item.Token >= 0)
                Token = item.Token;
            if (item.Finish is not null)
                Ended.TrySetResult();
        }

        public void Fail(Exception failure)
        {
            Held.TrySetException(failure);
            Ended.TrySetException(failure);
        }

        public void HandOver(KvHold hold) => Held.TrySetResult(hold);
    }
}
