using System.CommandLine;
using System.Globalization;
using XDeepServe.FlowServe;
using XDeepServe.FlowServe.Speculating;
using XDeepServe.FlowServe.Tiers;
using XDeepServe.Kernels;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Kernels.Cuda;
using XDeepServe.Models;
using XDeepServe.Models.Loading;
using XDeepServe.Transformerless;

namespace XDeepServe.Cli;

/// <summary>The flags of every command that loads a model. Names and defaults follow <c>vllm serve</c>.</summary>
internal sealed class EngineFlags
{
    private readonly Option<string?> model = new("--model");
    private readonly Option<string> dtype = Choice("--dtype", "Type of activations and KV cache; weights keep theirs. 'auto' is float32 on the CPU, bfloat16 on a GPU.", "auto", "auto", "float32", "bfloat16");
    private readonly Option<string> device = DeviceFlag();
    private readonly Option<string> format = FormatChoice();
    private readonly Option<string?> quantization = new("--quantization", "-q") { Description = "Convert linear weights while loading: q8_0, q4_k, q5_0, q4_0, fp8 (rounded weights), int8 (rounded weights and inputs)." };
    private readonly Option<int> threads = new("--threads") { Description = "Threads that compute; 0 for all cores." };
    private readonly Option<int?> maxModelLength = new("--max-model-len") { Description = "Most tokens of a prompt and its answer (default: the model's own limit)." };
    private readonly Option<int> maxSequences = new("--max-num-seqs") { Description = "Most sequences that run at once.", DefaultValueFactory = _ => 64 };
    private readonly Option<int> maxQueued = new("--max-queued-requests") { Description = "Most requests that wait; more are refused with 429.", DefaultValueFactory = _ => 512 };
    private readonly Option<int?> maxTokens = new("--max-num-batched-tokens") { Description = "Most tokens of a step (default: 512, or 2048 on a GPU)." };
    private readonly Option<int> longPrompt = new("--long-prefill-token-threshold") { Description = "Tokens to compute from which a prompt is long: where it can be helped, long and short prompts share no worker and no DP group.", DefaultValueFactory = _ => 2048 };
    private readonly Option<int> blockSize = new("--block-size") { Description = "Positions in a cache block.", DefaultValueFactory = _ => 16 };
    private readonly Option<long> cacheBytes = new("--kv-cache-memory-bytes") { Description = "Memory for each DP group's KV cache; 0 takes what --max-num-seqs full sequences need (at most 256 MiB, or on a GPU what is free; room for one in any case)." };
    private readonly Option<int?> blocks = new("--num-gpu-blocks-override") { Description = "Number of cache blocks, instead of --kv-cache-memory-bytes." };
    private readonly Option<double> offloading = new("--kv-offloading-size") { Description = "GiB of host memory for cache blocks that the device has no room for; 0 for none." };
    private readonly Option<string?> diskCache = new("--disk-cache") { Description = "Folder for cache blocks that host memory has no room for; found again after a restart. Processes may share one." };
    private readonly Option<double> diskCacheSize = new("--disk-cache-size") { Description = "Most GiB of all cache files in that folder.", DefaultValueFactory = _ => 10 };
    private readonly Option<bool> noPrefixCaching = new("--no-enable-prefix-caching") { Description = "Do not share the cache of equal prefixes." };
    private readonly Option<bool> prefixCaching = new("--enable-prefix-caching") { Description = "Share the cache of equal prefixes (the default)." };
    private readonly Option<bool> noChunks = new("--no-enable-chunked-prefill") { Description = "Read every prompt in one step." };
    private readonly Option<bool> chunks = new("--enable-chunked-prefill") { Description = "Cut prompts into pieces that fit beside others (the default)." };
    private readonly Option<string?> speculation = new("--speculative-config") { Description = "JSON: propose tokens and verify them in one step. method: mtp (the model's own module), ngram, draft_model (with model); num_speculative_tokens; disable_by_batch_size." };
    private readonly Option<bool> skipTokenizer = new("--skip-tokenizer-init") { Description = "Work on token ids only." };
    private readonly Option<long> seed = new("--seed") { Description = "Names the random streams of requests without a seed." };
    private readonly Option<int> maxLogprobs = new("--max-logprobs") { Description = "Most log-probabilities per token.", DefaultValueFactory = _ => 20 };
    private readonly Option<int> groups = new("--data-parallel-size") { Description = "DP groups: replicas with a scheduler and a cache each, which share weights and cores.", DefaultValueFactory = _ => 1 };
    private readonly Option<int> collection = new("--gc-interval") { Description = "Collect garbage every so many steps, and not in between; 0 leaves it to the runtime.", DefaultValueFactory = _ => 400 };
    private readonly List<Option> all = [];

    /// <summary>Adds the flags to a command.</summary>
    /// <param name="command">The command.</param>
    /// <param name="withoutSeed">The command has a --seed of its own.</param>
    /// <param name="embedded">Which model the command takes where none is named.</param>
    public EngineFlags(Command command, bool withoutSeed = false, string embedded = "nano-moe")
    {
        model.Description = $"Folder or GGUF file of the model (default: the embedded {embedded}).";
        quantization.AcceptOnlyFromAmong("q8_0", "q4_k", "q5_0", "q4_0", "fp8", "int8");
        all.AddRange(
        [
            model, device, dtype, format, quantization, threads, maxModelLength, maxSequences, maxQueued, maxTokens, longPrompt, blockSize, cacheBytes, blocks,
            offloading, diskCache, diskCacheSize, prefixCaching, noPrefixCaching, chunks, noChunks, speculation, skipTokenizer, maxLogprobs, groups, collection,
        ]);
        if (!withoutSeed)
            all.Add(seed);
        foreach (Option option in all)
            command.Options.Add(option);
        HasSeed = !withoutSeed;
    }

    private bool HasSeed { get; }

    /// <summary>Folder or GGUF file of the model, as given or by default.</summary>
    public string PathOf(ParseResult result, string? path) => System.IO.Path.GetFullPath(path ?? result.GetValue(model) ?? EmbeddedModel.Find());

    /// <summary>Flags that hand what was given down to a worker, with what its place in the topology says instead.</summary>
    /// <param name="result">What was given.</param>
    /// <param name="spec">The worker.</param>
    /// <param name="workers">Workers that compute: by default they share the cores.</param>
    public IEnumerable<string> ForWorkers(ParseResult result, WorkerSpec spec, int workers)
    {
        List<(Option Option, string? Value)> own =
        [
            (device, spec.Device),
            (cacheBytes, spec.Memory?.ToString(CultureInfo.InvariantCulture)),
            (groups, spec.Groups > 1 ? Text(spec.Groups) : null),
            (blockSize, spec.BlockSize?.ToString(CultureInfo.InvariantCulture)),
            (threads, spec.Cores.Count > 0 ? Text(spec.Cores.Count) : result.GetValue(threads) > 0 ? null : Text(Math.Max(1, Environment.ProcessorCount / workers))),
        ];
        own.RemoveAll(pair => pair.Value is null);
        HashSet<Option> replaced = [model, .. own.Select(pair => pair.Option)];
        if (spec.Memory is not null)
            replaced.Add(blocks);
        return [.. GivenFlags.Of(result, all.Where(option => !replaced.Contains(option))), .. own.SelectMany(pair => new[] { pair.Option.Name, pair.Value! })];

        static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>A flag with a few possible values.</summary>
    public static Option<string> Choice(string name, string description, string fallback, params string[] values)
    {
        Option<string> option = new(name) { Description = description, DefaultValueFactory = _ => fallback };
        option.AcceptOnlyFromAmong(values);
        return option;
    }

    /// <summary>Which files of a model to read.</summary>
    public static Option<string> FormatChoice() =>
        Choice("--load-format", "Kind of files; 'dummy' makes random weights for a folder with a config.json.", "auto", "auto", "safetensors", "gguf", "dummy");

    /// <summary>What was chosen with <see cref="FormatChoice"/>.</summary>
    public static LoadFormat ReadFormat(ParseResult result, Option<string> format) =>
        Enum.Parse<LoadFormat>(result.GetValue(format)!, ignoreCase: true);

    /// <summary>Compiled kernels are kept here; null for a user without a folder.</summary>
    public static string? KernelFolder =>
        Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify) is { Length: > 0 } home
            ? Path.Combine(home, "xdeepserve", "kernels") : null;

    /// <summary>The flag that says what computes.</summary>
    public static Option<string> DeviceFlag()
    {
        Option<string> option = new("--device") { Description = "What computes: cpu, cuda, or cuda:1 for the second GPU.", DefaultValueFactory = _ => "cpu" };
        option.Validators.Add(value =>
        {
            string text = value.GetValueOrDefault<string>();
            if (text != "cpu" && text != "cuda" && !(text.StartsWith("cuda:", StringComparison.Ordinal) && int.TryParse(text[5..], NumberStyles.None, CultureInfo.InvariantCulture, out _)))
                value.AddError($"--device is cpu, cuda or cuda:N, not '{text}'.");
        });
        return option;
    }

    /// <summary>Number of the GPU that a device names; null for the CPU.</summary>
    public static int? Gpu(string device) =>
        device == "cpu" ? null : device == "cuda" ? 0 : int.Parse(device[5..], NumberStyles.None, CultureInfo.InvariantCulture);

    /// <summary>The stored type of a name on the command line.</summary>
    public static ElementType TypeOf(string name) => name switch
    {
        "fp8" => ElementType.F8,
        "int8" => ElementType.I8,
        _ => Enum.Parse<ElementType>(name, ignoreCase: true),
    };

    private TierOptions? ReadTiers(ParseResult result)
    {
        const double gigabyte = 1L << 30;
        (double host, string? folder) = (result.GetValue(offloading), result.GetValue(diskCache));
        if (host is < 0 or > 1 << 20 || result.GetValue(diskCacheSize) is < 0 or > 1 << 30)
            throw new ArgumentException("--kv-offloading-size and --disk-cache-size are GiB, 0 or more.");
        return host == 0 && folder is null ? null : new TierOptions
        {
            HostBytes = (long)(host * gigabyte / result.GetValue(groups)),
            Folder = folder is null ? null : System.IO.Path.GetFullPath(folder),
            FolderBytes = (long)(result.GetValue(diskCacheSize) * gigabyte),
            Complain = Console.Error.WriteLine,
        };
    }

    /// <summary>Reads the flags.</summary>
    /// <param name="result">What was given.</param>
    /// <param name="path">The model, whatever the flags say; null to go by them.</param>
    /// <param name="embedded">The model that comes with the program, if none is named; null for the chat model.</param>
    public EngineSettings Read(ParseResult result, string? path = null, string? embedded = null)
    {
        int? gpu = Gpu(result.GetValue(device)!);
        bool small = result.GetValue(dtype) is { } asked && (asked == "bfloat16" || (asked == "auto" && gpu is not null));
        ElementType type = small ? ElementType.BF16 : ElementType.F32;
        int sequences = result.GetValue(maxSequences);
        if (result.GetValue(threads) < 0)
            throw new ArgumentException($"--threads must be at least 1, or 0 for all cores, not {result.GetValue(threads)}.");
        SpeculativeConfig? proposals = result.GetValue(speculation) is { } json ? SpeculativeConfig.Parse(json) : null;
        if (result.GetValue(groups) < 1 || (gpu is not null && result.GetValue(groups) > 1))
            throw new ArgumentException("--data-parallel-size is at least 1, and 1 on a GPU, whose groups are processes of their own: see --topology.");
        return new EngineSettings
        {
            Path = path ?? result.GetValue(model) ?? (embedded is null ? EmbeddedModel.Find() : EmbeddedModel.Find(embedded)),
            Format = ReadFormat(result, format),
            Cpu = new CpuOptions(result.GetValue(threads), Activations: type),
            Cuda = gpu is { } ordinal ? new CudaOptions(ordinal, type, KernelFolder, Console.Error.WriteLine) : null,
            Model = new ModelOptions(type, result.GetValue(quantization) is { } name ? TypeOf(name) : null, result.GetValue(maxModelLength),
                Drafts: proposals?.Options.Method == SpeculationMethod.DraftModule),
            DraftModel = proposals?.DraftModel,
            Groups = result.GetValue(groups),
            SkipTokenizer = result.GetValue(skipTokenizer),
            Engine = new EngineOptions
            {
                MaxModelLength = 0,
                MaxSequences = sequences,
                QueueLimit = result.GetValue(maxQueued),
                MaxBatchedTokens = result.GetValue(maxTokens) ?? (gpu is null ? 512 : 2048),
                LongPrompt = result.GetValue(longPrompt),
                BlockSize = result.GetValue(blockSize),
                KvCacheBytes = result.GetValue(cacheBytes),
                NumBlocksOverride = result.GetValue(blocks),
                Tiers = ReadTiers(result),
                PrefixCaching = !result.GetValue(noPrefixCaching),
                ChunkedPrefill = !result.GetValue(noChunks),
                Seed = HasSeed ? result.GetValue(seed) : 0,
                CollectionInterval = result.GetValue(collection),
                MaxLogprobs = result.GetValue(maxLogprobs),
                Speculation = proposals?.Options,
            },
        };
    }
}

/// <summary>What to load and how to run it.</summary>
internal sealed record EngineSettings
{
    /// <summary>Folder or GGUF file.</summary>
    public required string Path { get; init; }

    /// <summary>Kind of files.</summary>
    public required LoadFormat Format { get; init; }

    /// <summary>The CPU, if it computes.</summary>
    public required CpuOptions Cpu { get; init; }

    /// <summary>The GPU that computes; null for the CPU.</summary>
    public CudaOptions? Cuda { get; init; }

    /// <summary>The weights.</summary>
    public required ModelOptions Model { get; init; }

    /// <summary>Folder or GGUF file of the model that proposes tokens; null for none.</summary>
    public string? DraftModel { get; init; }

    /// <summary>The engine; its longest sequence is set when the model is known.</summary>
    public required EngineOptions Engine { get; init; }

    /// <summary>DP groups.</summary>
    public int Groups { get; init; } = 1;

    /// <summary>The CPU as one of the DP groups has it: threads and cores are divided.</summary>
    /// <param name="group">Its number.</param>
    public CpuOptions CpuOf(int group)
    {
        int cores = CpuCores.Count, threads = Cpu.Threads == 0 ? cores : Cpu.Threads;
        if (Groups == 1)
            return Cpu;
        int own = Math.Max(1, threads / Groups + (group < threads % Groups ? 1 : 0));
        int before = group * (threads / Groups) + Math.Min(group, threads % Groups);
        // Cores are a group's own only where all of them are this process's.
        return Cpu with { Threads = own, FirstCore = threads == cores && threads >= Groups ? before : null };
    }

    /// <summary>Work on ids only.</summary>
    public bool SkipTokenizer { get; init; }

    /// <summary>A short name for the model.</summary>
    public string Name => System.IO.Path.GetFileName(System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(Path)));
}
