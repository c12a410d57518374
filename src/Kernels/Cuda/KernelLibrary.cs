using System.Reflection;

namespace XDeepServe.Kernels.Cuda;

/// <summary>
/// The compiled kernel texts. A text is an embedded resource; what it compiles to is kept (<see cref="KernelCache"/>), so that only
/// the first start on a machine compiles.
/// </summary>
internal sealed class KernelLibrary : IDisposable
{
    private const string Prelude = "Device.cu";
    private readonly Driver driver;
    private readonly KernelCache cache;
    private readonly string architecture;
    private readonly Dictionary<string, nint> modules = [];
    private Compiler? compiler;

    /// <summary>Compiles nothing yet.</summary>
    public KernelLibrary(Driver driver, KernelCache cache)
    {
        (this.driver, this.cache) = (driver, cache);
        // The instructions of one architecture alone ("a") are what the fastest kernels use.
        architecture = driver.Architecture >= 90 ? $"sm_{driver.Architecture}a" : $"sm_{driver.Architecture}";
    }

    /// <summary>Loads a kernel, by its file's name and its own.</summary>
    /// <param name="file">Such as Rows.cu.</param>
    /// <param name="name">Name of the function.</param>
    /// <param name="sharedBytes">Most dynamic shared memory that it is launched with.</param>
    /// <param name="definitions">Lines that stand before the text.</param>
    public nint Load(string file, string name, int sharedBytes, string definitions)
    {
        if (!modules.TryGetValue(definitions + file, out nint module))
            modules[definitions + file] = module = Open(file, definitions);
        nint function = driver.Function(module, name);
        driver.AllowShared(function, sharedBytes, name);
        return function;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (nint module in modules.Values)
            driver.UnloadModule(module);
        modules.Clear();
    }

    private nint Open(string file, string definitions)
    {
        string text = definitions + Text(Prelude) + Text(file);
        if (cache.Find(file, text, architecture) is { } kept)
        {
            try
            {
                return driver.LoadModule(kept, file);
            }
            catch (CudaException)
            {
                // A file that was cut off, or of another version of the compiler: made anew below.
            }
        }
        compiler ??= Compiler.Open(driver.Version);
        byte[] image = compiler.Compile(file, text, architecture);
        try
        {
            nint module = driver.LoadModule(image, file);
            cache.Keep(file, text, architecture, image);
            return module;
        }
        catch (CudaException failure)
        {
            throw new CudaException(
                $"{failure.Message} NVRTC may be newer than the driver, which has CUDA {driver.Version / 1000}.{driver.Version % 1000 / 10}: put that version's libnvrtc on LD_LIBRARY_PATH, or update the driver.", failure);
        }
    }

    /// <summary>A text with those that it includes.</summary>
    private static string Text(string file)
    {
        const string Include = "#include \"";
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(file)
            ?? throw new CudaException($"The kernel text {file} is not in the assembly.");
        using StreamReader reader = new(stream);
        string text = reader.ReadToEnd();
        for (int at; (at = text.IndexOf(Include, StringComparison.Ordinal)) >= 0;)
        {
            int start = at + Include.Length, end = text.IndexOf('"', start);
            text = text[..at] + Text(text[start..end]) + text[(end + 1)..];
        }
        return text;
    }
}

/// <summary>A function on the GPU, compiled and loaded when it is first launched.</summary>
/// <param name="library">Loads it.</param>
/// <param name="file">Its text.</param>
/// <param name="name">Its name.</param>
/// <param name="sharedBytes">Most dynamic shared memory that it is launched with.</param>
/// <param name="definitions">Lines that stand before the text.</param>
internal sealed class Kernel(KernelLibrary library, string file, string name, int sharedBytes = 0, string definitions = "")
{
    private nint function;

    /// <summary>For messages.</summary>
    public string Name => name;

    /// <summary>The driver's handle.</summary>
    public nint Function => function != 0 ? function : function = library.Load(file, name, sharedBytes, definitions);
}
