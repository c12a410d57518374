using System.CommandLine;
using System.Diagnostics;
using System.Text;
using XDeepServe.Models.Text;

namespace XDeepServe.Cli.Bench;

/// <summary><c>xds bench tokenizer</c>: how fast one thread turns text into tokens and back.</summary>
internal sealed class BenchTokenizerCommand : Command
{
    private readonly TextSource source = new();
    private readonly Option<string> file = new("--file") { Description = "Text in UTF-8.", Required = true };
    private readonly Option<int> rounds = new("--num-iters") { Description = "Rounds behind the first; the median counts.", DefaultValueFactory = _ => 9 };

    public BenchTokenizerCommand() : base("tokenizer", "Measures encoding and decoding on one thread.")
    {
        source.AddTo(this);
        Options.Add(file);
        Options.Add(rounds);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        string text = File.ReadAllText(result.GetValue(file)!);
        double megabytes = Encoding.UTF8.GetByteCount(text) / 1e6;
        long start = Stopwatch.GetTimestamp();
        Tokenizer tokenizer = source.Tokenizer(result);
        TimeSpan load = Stopwatch.GetElapsedTime(start);
        int count = Math.Max(1, result.GetValue(rounds));

        TimeSpan Time(Action action)
        {
            long begin = Stopwatch.GetTimestamp();
            action();
            return Stopwatch.GetElapsedTime(begin);
        }

        int[] ids = [];
        TimeSpan first = Time(() => ids = tokenizer.Encode(text));
        Summary encode = new(Enumerable.Range(0, count).Select(_ => megabytes / Time(() => tokenizer.Encode(text)).TotalSeconds));
        Summary decode = new(Enumerable.Range(0, count).Select(_ => megabytes / Time(() => tokenizer.Decode(ids)).TotalSeconds));
        Console.WriteLine($"{"text",-22}{megabytes:F2} MB, {ids.Length} tokens, {megabytes * 1e6 / Math.Max(1, ids.Length):F2} bytes a token");
        Console.WriteLine($"{"load",-22}{load.TotalMilliseconds:F0} ms");
        Console.WriteLine($"{"encode, first round",-22}{megabytes / first.TotalSeconds:F1} MB/s");
        Console.WriteLine($"{"encode",-22}{encode.Median:F1} MB/s (median of {count}; {encode.Percentile(0):F1} to {encode.Percentile(100):F1})");
        Console.WriteLine($"{"decode",-22}{decode.Median:F1} MB/s (median of {count}; {decode.Percentile(0):F1} to {decode.Percentile(100):F1})");
        return 0;
    }
}
