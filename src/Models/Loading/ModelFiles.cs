using System.IO.Hashing;
using System.Text;

namespace XDeepServe.Models.Loading;

/// <summary>The files of a model as they lie in its folder: what another host needs to serve the same.</summary>
public sealed class ModelFiles
{
    private const int Samples = 16, SampleBytes = 4096;
    private static readonly string[] s_weights = [".safetensors", ".gguf"], s_rest = [".json", ".jinja", ".model", ".txt"];

    private ModelFiles(string folder, IReadOnlyList<(string Name, long Bytes)> files) => (Folder, Files) = (folder, files);

    /// <summary>Where they are.</summary>
    public string Folder { get; }

    /// <summary>Names without a folder, in ordinal order, and sizes.</summary>
    public IReadOnlyList<(string Name, long Bytes)> Files { get; }

    /// <summary>Lists a model's files.</summary>
    /// <param name="path">Its folder, or its GGUF file: then other weights of the folder are no part of it.</param>
    /// <exception cref="IOException">It is not there.</exception>
    public static ModelFiles Of(string path)
    {
        path = Path.GetFullPath(path);
        bool single = File.Exists(path);
        string folder = single ? Path.GetDirectoryName(path)! : path;
        return new ModelFiles(folder, [.. new DirectoryInfo(folder).EnumerateFiles()
            .Where(file => single && file.FullName == path || !single && Is(file, s_weights) || Is(file, s_rest))
            .OrderBy(file => file.Name, StringComparer.Ordinal)
            .Select(file => (file.Name, new FileInfo(RealPath.Of(file.FullName)).Length))]);
    }

    /// <summary>Names the files by their names, their sizes and samples of their content: all of small files, 64 KiB of large ones.</summary>
    /// <returns>Equal for equal files, on any machine.</returns>
    /// <exception cref="IOException">One cannot be read.</exception>
    public ulong Fingerprint()
    {
        XxHash3 hash = new();
        byte[] sample = new byte[SampleBytes];
        foreach ((string name, long bytes) in Files)
        {
            hash.Append(Encoding.UTF8.GetBytes($"{name} {bytes}\n"));
            using FileStream file = File.OpenRead(Path.Combine(Folder, name));
            for (int i = 0; i < Samples; i++)
            {
                // Evenly over the file, from its first byte to its last.
                long start = Math.Max(0, bytes - SampleBytes) * i / (Samples - 1);
                hash.Append(sample.AsSpan(0, RandomAccess.Read(file.SafeFileHandle, sample, start)));
            }
        }
        return hash.GetCurrentHashAsUInt64();
    }

    private static bool Is(FileInfo file, string[] kinds) => kinds.Contains(file.Extension, StringComparer.OrdinalIgnoreCase);
}
