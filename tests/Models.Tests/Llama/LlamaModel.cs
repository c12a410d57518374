using XDeepServe.Bench.Llama;

namespace XDeepServe.Models.Tests.Llama;

/// <summary>A GGUF file as llama.cpp runs it, from the npm package that tests/package.json names.</summary>
internal sealed unsafe class LlamaModel
{
    private static readonly Lazy<string?> Folder = new(Load);
    private readonly nint context, vocabulary;

    public LlamaModel(string path)
    {
        Need();
        nint model = LlamaLibrary.LoadModel(path, LlamaLibrary.ModelDefaults());
        Assert.True(model != 0, $"llama.cpp does not load {path}");
        LlamaLibrary.Parameters parameters = LlamaLibrary.ContextDefaults();
        parameters[0] = parameters[1] = parameters[2] = 512; // n_ctx, n_batch, n_ubatch
        context = LlamaLibrary.CreateContext(model, parameters);
        Assert.True(context != 0, $"llama.cpp makes no context for {path}");
        LlamaLibrary.SetThreads(context, 1, 1);
        vocabulary = LlamaLibrary.Vocabulary(model);
    }

    public int VocabularySize => LlamaLibrary.VocabularySize(vocabulary);

    /// <summary>Loads the library; skips the test if it is not installed.</summary>
    public static void Need() => Assert.SkipWhen(Folder.Value is null, "llama.cpp is not installed: run 'npm ci' in tests (Linux, x64)");

    public int[] Greedy(int[] prompt, int count, int words)
    {
        LlamaLibrary.Clear(LlamaLibrary.Memory(context), true);
        int[] result = new int[count];
        fixed (int* tokens = prompt)
            result[0] = Next(LlamaLibrary.BatchOf(tokens, prompt.Length), words);
        for (int i = 1; i < count; i++)
        {
            int last = result[i - 1];
            result[i] = Next(LlamaLibrary.BatchOf(&last, 1), words);
        }
        return result;
    }

    private int Next(LlamaLibrary.Batch batch, int words)
    {
        Assert.Equal(0, LlamaLibrary.Decode(context, batch));
        return Runner.Best(new ReadOnlySpan<float>(LlamaLibrary.Logits(context, -1), words).ToArray());
    }

    private static string? Load()
    {
        string folder = Path.Combine(Places.Root, "tests", "node_modules", "@node-llama-cpp", "linux-x64", "bins", "linux-x64");
        if (!Directory.Exists(folder))
            return null;
        LlamaLibrary.Load(folder);
        return folder;
    }
}
