using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace XDeepServe.Bench.Llama;

/// <summary>
/// The few calls of llama.cpp (v0.5.0) that benchmarks and tests need. Parameter structs are passed as the memory blocks they are: they
/// are filled by the library's own defaults, and only fields at the front, whose places have not moved, are changed.
/// </summary>
internal static unsafe partial class LlamaLibrary
{
    private const string Name = "llama", Numbers = "ggml-base";

    /// <summary>Model or context parameters: longer than either, which the calling convention allows for structs in memory.</summary>
    [InlineArray(128)]
    public struct Parameters
    {
        private int first;
    }

    /// <summary>llama_batch.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Batch
    {
        public int Count;
        public int* Tokens;
        public float* Embeddings;
        public int* Positions;
        public int* SequenceCounts;
        public int** Sequences;
        public sbyte* Logits;
    }

    /// <summary>Loads the libraries of a folder.</summary>
    public static void Load(string folder)
    {
        string Find(string pattern) => Directory.GetFiles(folder, pattern) is [string found, ..] ? found
            : throw new FileNotFoundException($"{folder} holds no {pattern}; give the folder with llama.cpp's shared objects.");
        nint numbers = NativeLibrary.Load(Find("libggml-base*.so"));
        nint ggml = NativeLibrary.Load(Find("libggml.v*.so"));
        nint llama = NativeLibrary.Load(Find("libllama.v*.so"));
        NativeLibrary.SetDllImportResolver(typeof(LlamaLibrary).Assembly, (name, _, _) => name switch { Name => llama, Numbers => numbers, _ => ggml });
        LoadBackends(folder);
        SetLog(&Silence, null);
        Initialise();
    }

    [UnmanagedCallersOnly]
    private static void Silence(int level, byte* text, void* data)
    {
    }

    [LibraryImport("ggml", EntryPoint = "ggml_backend_load_all_from_path", StringMarshalling = StringMarshalling.Utf8)]
    private static partial void LoadBackends(string folder);

    /// <summary>Quantises rows; returns the bytes written. Types by GGUF's numbers.</summary>
    [LibraryImport(Numbers, EntryPoint = "ggml_quantize_chunk")]
    public static partial nuint Quantise(int type, float* source, void* target, long start, long rows, long columns, float* importance);

    /// <summary>A type's description; the function that restores values is its sixth field.</summary>
    [LibraryImport(Numbers, EntryPoint = "ggml_get_type_traits")]
    private static partial nint* Traits(int type);

    /// <summary>Restores values of a type.</summary>
    public static void Restore(int type, void* source, float* target, long count) =>
        ((delegate* unmanaged<void*, float*, long, void>)Traits(type)[5])(source, target, count);

    [LibraryImport(Name, EntryPoint = "llama_log_set")]
    private static partial void SetLog(delegate* unmanaged<int, byte*, void*, void> callback, void* data);

    [LibraryImport(Name, EntryPoint = "llama_backend_init")]
    private static partial void Initialise();

    [LibraryImport(Name, EntryPoint = "llama_model_default_params")]
    public static partial Parameters ModelDefaults();

    [LibraryImport(Name, EntryPoint = "llama_model_load_from_file", StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint LoadModel(string path, Parameters parameters);

    [LibraryImport(Name, EntryPoint = "llama_context_default_params")]
    public static partial Parameters ContextDefaults();

    [LibraryImport(Name, EntryPoint = "llama_init_from_model")]
    public static partial nint CreateContext(nint model, Parameters parameters);

    [LibraryImport(Name, EntryPoint = "llama_set_n_threads")]
    public static partial void SetThreads(nint context, int threads, int batchThreads);

    [LibraryImport(Name, EntryPoint = "llama_model_get_vocab")]
    public static partial nint Vocabulary(nint model);

    [LibraryImport(Name, EntryPoint = "llama_vocab_n_tokens")]
    public static partial int VocabularySize(nint vocabulary);

    [LibraryImport(Name, EntryPoint = "llama_batch_get_one")]
    public static partial Batch BatchOf(int* tokens, int count);

    [LibraryImport(Name, EntryPoint = "llama_decode")]
    public static partial int Decode(nint context, Batch batch);

    [LibraryImport(Name, EntryPoint = "llama_get_logits_ith")]
    public static partial float* Logits(nint context, int index);

    [LibraryImport(Name, EntryPoint = "llama_get_memory")]
    public static partial nint Memory(nint context);

    [LibraryImport(Name, EntryPoint = "llama_memory_clear")]
    public static partial void Clear(nint memory, [MarshalAs(UnmanagedType.U1)] bool data);
}
