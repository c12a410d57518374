using System.Buffers.Binary;
using System.Text.Json;
using System.Text.Json.Nodes;
using XDeepServe.Kernels;

namespace XDeepServe.Models.Loading;

/// <summary>One mapped safetensors file: 8 bytes of header length, a JSON header, the tensors. Everything is checked once, here.</summary>
public sealed class SafetensorsFile : IDisposable
{
    private const int LengthBytes = 8;
    private const long MostHeaderBytes = 100L << 20; // the format's own limit
    private readonly MappedFile file;

    /// <summary>Maps a file and reads its header.</summary>
    /// <exception cref="ModelLoadException">The file is damaged, or holds what cannot be served.</exception>
    public SafetensorsFile(string path)
    {
        file = MappedFile.Open(path);
        try
        {
            Tensors = Read(path);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>The tensors in order of their place.</summary>
    public IReadOnlyList<StoredTensor> Tensors { get; }

    /// <inheritdoc/>
    public void Dispose() => file.Dispose();

    private List<StoredTensor> Read(string path)
    {
        if (file.Length < LengthBytes)
            throw Damaged(path, $"it has only {file.Length} bytes");
        ulong header = BinaryPrimitives.ReadUInt64LittleEndian(file.Span(0, LengthBytes));
        if (header is < 2 or > MostHeaderBytes || header > (ulong)(file.Length - LengthBytes))
            throw Damaged(path, $"its header is said to have {header} bytes, the file has {file.Length}");
        JsonObject json = JsonFile.Parse(file.Span(LengthBytes, (int)header), $"The header of {path}");
        long data = file.Length - LengthBytes - (long)header;
        List<(long Start, StoredTensor Tensor)> found = [];
        foreach ((string name, JsonNode? entry) in json)
            if (name != "__metadata__")
                found.Add(ReadTensor(path, name, entry, (long)header + LengthBytes, data));
        found.Sort((left, right) => left.Start.CompareTo(right.Start));
        for (int i = 1; i < found.Count; i++)
            if (found[i - 1].Start + found[i - 1].Tensor.Bytes > found[i].Start)
                throw Damaged(path, $"'{found[i - 1].Tensor.Name}' and '{found[i].Tensor.Name}' overlap");
        return [.. found.Select(item => item.Tensor)];
    }

    private (long Start, StoredTensor Tensor) ReadTensor(string path, string name, JsonNode? entry, long dataStart, long dataBytes)
    {
        string kind;
        long[] shape, offsets;
        try
        {
            kind = entry!["dtype"]!.GetValue<string>();
            shape = entry["shape"].Deserialize<long[]>() ?? [];
            offsets = entry["data_offsets"].Deserialize<long[]>() ?? [];
        }
        catch (Exception broken) when (broken is JsonException or InvalidOperationException or NullReferenceException or FormatException)
        {
            throw Damaged(path, $"'{name}' is not described by dtype, shape and data_offsets");
        }
        ElementType type = kind switch
        {
            "F32" => ElementType.F32,
            "F16" => ElementType.F16,
            "BF16" => ElementType.BF16,
            "F8_E4M3" => ElementType.F8,
            "I8" => ElementType.I8,
            _ => throw new ModelLoadException($"'{name}' in {path} holds {kind}; F32, F16, BF16, F8_E4M3 and I8 can be served. Take a published model in one of those."),
        };
        long elements = 1;
        foreach (long length in shape)
        {
            if (length is < 1 or > int.MaxValue || elements > long.MaxValue / 8 / length)
                throw Damaged(path, $"'{name}' has the shape [{string.Join(", ", shape)}]");
            elements *= length;
        }
        if (shape.Length is 0 or > 8)
            throw Damaged(path, $"'{name}' has {shape.Length} dimensions");
        if (offsets.Length != 2 || offsets[0] < 0 || offsets[1] < offsets[0] || offsets[1] > dataBytes)
            throw Damaged(path, $"'{name}' is said to lie at [{string.Join(", ", offsets)}] of {dataBytes} bytes");
        long bytes = type.Bytes(elements);
        if (offsets[1] - offsets[0] != bytes)
            throw Damaged(path, $"'{name}' takes {offsets[1] - offsets[0]} bytes, but its shape [{string.Join(", ", shape)}] in {kind} needs {bytes}");
        // Where values lie is not checked: old files have headers of any length, and processors read from odd addresses too.
        return (offsets[0], new StoredTensor(name, type, shape, file.Address + (nint)(dataStart + offsets[0]), bytes, file));
    }

    private static ModelLoadException Damaged(string path, string how) =>
        new($"{path} is damaged or not complete: {how}. Fetch it again.");
}
