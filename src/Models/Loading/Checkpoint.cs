using System.Diagnostics.CodeAnalysis;
using System.IO.Hashing;
using System.Text;
using System.Text.Json.Nodes;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Loading;

/// <summary>
/// An opened model: configuration, tensors under their Hugging Face names, tokenizer. Tensors stay mapped until it is disposed.
/// </summary>
public abstract class Checkpoint : IDisposable
{
    /// <summary>Kind of file: safetensors, gguf or dummy.</summary>
    public abstract string Format { get; }

    /// <summary>The configuration as Hugging Face's config.json writes it.</summary>
    public abstract JsonObject Config { get; }

    /// <summary>generation_config.json; null if there is none.</summary>
    public abstract JsonObject? GenerationConfig { get; }

    /// <summary>preprocessor_config.json: how images are prepared; null if there is none.</summary>
    public virtual JsonObject? PreprocessorConfig => null;

    /// <summary>Names of all tensors.</summary>
    public abstract IEnumerable<string> Names { get; }

    /// <summary>Opens a model.</summary>
    /// <param name="path">A folder with a config.json and safetensors, a folder with one GGUF file, or a GGUF file.</param>
    /// <param name="format">What to expect.</param>
    /// <param name="nameRandom">Random matrices are named by seeds alone, for a backend that <see cref="Kernels.Backend.MakesRandomWeights"/>.</param>
    /// <exception cref="ModelLoadException">Nothing that can be read is there, or it is damaged; says what to do.</exception>
    public static Checkpoint Open(string path, LoadFormat format = LoadFormat.Auto, bool nameRandom = false)
    {
        try
        {
            if (File.Exists(path))
            {
                if (format is LoadFormat.Safetensors or LoadFormat.Dummy)
                    throw new ModelLoadException($"{path} is a file. Give the folder that holds the config.json.");
                return new GgufCheckpoint(path);
            }
            if (!Directory.Exists(path))
                throw new ModelLoadException($"{path} is not there. Give a model's folder or a GGUF file.");
            string[] files = [.. Directory.GetFiles(path, "*.gguf").Order(StringComparer.Ordinal)];
            bool gguf = format == LoadFormat.Gguf || (format == LoadFormat.Auto && files.Length > 0 && Directory.GetFiles(path, "*.safetensors").Length == 0);
            if (!gguf)
                return format == LoadFormat.Dummy ? new DummyCheckpoint(path, nameRandom) : new SafetensorsCheckpoint(path);
            return files.Length switch
            {
                0 => throw new ModelLoadException($"{path} holds no GGUF file."),
                1 => new GgufCheckpoint(files[0]),
                _ => throw new ModelLoadException($"{path} holds {files.Length} GGUF files. Name the one to serve."),
            };
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new ModelLoadException($"{path} cannot be read: {failure.Message}");
        }
    }

    /// <summary>Finds a tensor.</summary>
    public abstract bool TryGet(string name, [NotNullWhen(true)] out StoredTensor? tensor);

    /// <summary>Whether there is a tensor of this name.</summary>
    public virtual bool Has(string name) => TryGet(name, out _);

    /// <summary>Finds a tensor that must be there in this shape.</summary>
    /// <param name="name">Hugging Face name.</param>
    /// <param name="shape">Outermost dimension first.</param>
    /// <exception cref="ModelLoadException">It is missing or has another shape.</exception>
    public virtual StoredTensor Get(string name, params ReadOnlySpan<long> shape)
    {
        if (!TryGet(name, out StoredTensor? tensor))
            throw new ModelLoadException($"The tensor '{name}' is missing from the model. Fetch the weights again, and the config.json that belongs to them.");
        if (!tensor.Shape.AsSpan().SequenceEqual(shape))
        {
            throw new ModelLoadException(
                $"'{name}' has shape [{string.Join(", ", tensor.Shape)}], but config.json calls for [{string.Join(", ", shape.ToArray())}]. The weights and the config.json do not belong together.");
        }
        return tensor;
    }

    /// <summary>The model's tokenizer; null if it brings none.</summary>
    /// <exception cref="TokenizerException">It brings one that cannot be read.</exception>
    public abstract Tokenizer? LoadTokenizer();

    /// <summary>Names the model by its configuration and weights: all names and shapes, and samples of every tensor's bytes.</summary>
    /// <param name="how">What else makes results differ, such as a conversion while loading.</param>
    /// <returns>Equal for equal models, on any machine.</returns>
    public unsafe ulong Fingerprint(string how)
    {
        const int samples = 16, length = 64;
        XxHash3 hash = new();
        hash.Append(Encoding.UTF8.GetBytes(how + Config.ToJsonString()));
        foreach (string name in Names.Order(StringComparer.Ordinal))
        {
            if (!TryGet(name, out StoredTensor? tensor))
                continue;
            hash.Append(Encoding.UTF8.GetBytes($"{name} {tensor.Type} {string.Join('x', tensor.Shape)} {tensor.Seed}"));
            for (int i = 0; i < samples && tensor.Address != 0; i++)
            {
                long start = Math.Max(0, tensor.Bytes - length) / (samples - 1) * i;
                hash.Append(new ReadOnlySpan<byte>((byte*)tensor.Address + start, (int)Math.Min(length, tensor.Bytes - start)));
            }
        }
        return hash.GetCurrentHashAsUInt64();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Release();
        GC.SuppressFinalize(this);
    }

    /// <summary>Closes the files.</summary>
    protected abstract void Release();

    /// <summary>The tokenizer in a folder; null if there is none.</summary>
    private protected static Tokenizer? TokenizerIn(string folder) =>
        Tokenizer.IsIn(folder) ? Tokenizer.FromFolder(folder) : null;

    /// <summary>The config.json of a folder.</summary>
    private protected static JsonObject ConfigIn(string folder) => JsonFile.TryRead(Path.Combine(folder, "config.json"))
        ?? throw new ModelLoadException($"{folder} holds no config.json. Give the folder that the model was published in, or a GGUF file.");
}
