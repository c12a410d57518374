using System.Diagnostics;
using System.Globalization;

namespace XDeepServe.Bench.Llama;

/// <summary>Measures llama.cpp on one request as <c>xds bench latency</c> measures xds: prefill and decode tokens per second, medians.</summary>
internal static unsafe class Program
{
    private static int Main(string[] arguments)
    {
        if (arguments.Length != 6 || !Array.TrueForAll(arguments[2..], text => int.TryParse(text, out int number) && number > 0))
        {
            Console.Error.WriteLine("usage: Llama LIBRARY_FOLDER MODEL.gguf INPUT_LEN OUTPUT_LEN THREADS ITERATIONS");
            return 1;
        }
        int[] numbers = [.. arguments[2..].Select(text => int.Parse(text, CultureInfo.InvariantCulture))];
        (int input, int output, int threads, int iterations) = (numbers[0], numbers[1], numbers[2], numbers[3]);
        LlamaLibrary.Load(arguments[0]);
        nint model = LlamaLibrary.LoadModel(arguments[1], LlamaLibrary.ModelDefaults());
        if (model == 0)
        {
            Console.Error.WriteLine($"llama.cpp does not load {arguments[1]}.");
            return 1;
        }
        LlamaLibrary.Parameters parameters = LlamaLibrary.ContextDefaults();
        parameters[0] = input + output + 8;                 // n_ctx
        parameters[1] = parameters[2] = Math.Max(512, input); // n_batch, n_ubatch
        nint context = LlamaLibrary.CreateContext(model, parameters);
        LlamaLibrary.SetThreads(context, threads, threads);
        int vocabulary = LlamaLibrary.VocabularySize(LlamaLibrary.Vocabulary(model));
        Random random = new(0);
        int[] prompt = [.. Enumerable.Range(0, input).Select(_ => random.Next(vocabulary))];
        List<double> prefill = [], decode = [];
        for (int i = -1; i < iterations; i++)
        {
            (double first, double later) = Measure(context, prompt, output, vocabulary);
            if (i < 0)
                continue; // warm-up
            prefill.Add(input / first);
            decode.Add((output - 1) / later);
        }
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $$"""{"prefill_tokens_per_s":{{Median(prefill):F1}},"decode_tokens_per_s":{{Median(decode):F1}},"threads":{{threads}}}"""));
        return 0;
    }

    private static (double First, double Later) Measure(nint context, int[] prompt, int output, int vocabulary)
    {
        LlamaLibrary.Clear(LlamaLibrary.Memory(context), true);
        long start = Stopwatch.GetTimestamp();
        int token;
        fixed (int* tokens = prompt)
            token = Next(context, LlamaLibrary.BatchOf(tokens, prompt.Length), vocabulary);
        double first = Stopwatch.GetElapsedTime(start).TotalSeconds;
        start = Stopwatch.GetTimestamp();
        for (int i = 1; i < output; i++)
            token = Next(context, LlamaLibrary.BatchOf(&token, 1), vocabulary);
        return (first, Stopwatch.GetElapsedTime(start).TotalSeconds);
    }

    private static int Next(nint context, LlamaLibrary.Batch batch, int vocabulary)
    {
        if (LlamaLibrary.Decode(context, batch) != 0)
            throw new InvalidOperationException("llama.cpp refused a batch.");
        ReadOnlySpan<float> logits = new(LlamaLibrary.Logits(context, -1), vocabulary);
        return System.Numerics.Tensors.TensorPrimitives.IndexOfMax(logits);
    }

    private static double Median(List<double> values)
    {
        values.Sort();
        return (values[(values.Count - 1) / 2] + values[values.Count / 2]) / 2;
    }
}
