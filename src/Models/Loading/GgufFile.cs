using System.Buffers.Binary;
using System.Text;
using XDeepServe.Kernels;

namespace XDeepServe.Models.Loading;

/// <summary>A mapped GGUF file, versions 2 and 3: metadata and tensors under their own names. Everything is checked once, here.</summary>
internal sealed class GgufFile : IDisposable
{
    /// <summary>"GGUF", read as a number.</summary>
    public const uint Magic = 0x46554747;

    /// <summary>The types that files hold, by llama.cpp's numbers.</summary>
    public static IReadOnlyDictionary<uint, ElementType> Types { get; } = new Dictionary<uint, ElementType>
    {
        [0] = ElementType.F32,
        [1] = ElementType.F16,
        [2] = ElementType.Q4_0,
        [6] = ElementType.Q5_0,
        [8] = ElementType.Q8_0,
        [12] = ElementType.Q4_K,
        [13] = ElementType.Q5_K,
        [14] = ElementType.Q6_K,
        [30] = ElementType.BF16,
    };

    private const int MostTensors = 1 << 20, MostEntries = 1 << 16;
    private readonly MappedFile file;
    private readonly string path;
    private long position;

    /// <summary>Maps a file and reads everything but the tensors' values.</summary>
    /// <exception cref="ModelLoadException">The file is damaged, or holds what cannot be served.</exception>
    public GgufFile(string path)
    {
        this.path = path;
        file = MappedFile.Open(path);
        try
        {
            Read();
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Metadata: ulong, long, double, bool, string, or a list of those.</summary>
    public Dictionary<string, object> Metadata { get; } = new(StringComparer.Ordinal);

    /// <summary>Tensors by their names in the file; outermost dimension first.</summary>
    public Dictionary<string, StoredTensor> Tensors { get; } = new(StringComparer.Ordinal);

    /// <inheritdoc/>
    public void Dispose() => file.Dispose();

    private void Read()
    {
        if (file.Length < 24 || UInt32() != Magic)
            throw new ModelLoadException($"{path} is no GGUF file. Give a model's folder or a GGUF file.");
        uint version = UInt32();
        if (version is not (2 or 3))
            throw new ModelLoadException($"{path} is GGUF version {version}; versions 2 and 3 can be read. Convert the model again with a current tool.");
        ulong tensors = UInt64(), entries = UInt64();
        if (tensors > MostTensors || entries > MostEntries)
            throw Damaged($"it announces {tensors} tensors and {entries} entries");
        for (ulong i = 0; i < entries; i++)
        {
            string key = String();
            if (!Metadata.TryAdd(key, Value(UInt32(), nested: false)))
                throw Damaged($"'{key}' is in it twice");
        }
        List<(string Name, long[] Shape, ElementType Type, ulong Offset)> infos = [];
        for (ulong i = 0; i < tensors; i++)
            infos.Add(Info());
        ulong alignment = Metadata.GetValueOrDefault("general.alignment") is ulong given ? given : 32;
        if (alignment is 0 or > 1 << 20 || (alignment & (alignment - 1)) != 0)
            throw Damaged($"its alignment is {alignment}");
        long data = (position + (long)alignment - 1) / (long)alignment * (long)alignment;
        foreach ((string name, long[] shape, ElementType type, ulong offset) in infos)
            Add(name, shape, type, offset, alignment, data);
        StoredTensor? last = null;
        foreach (StoredTensor tensor in Tensors.Values.OrderBy(tensor => tensor.Address))
        {
            if (last is not null && last.Address + last.Bytes > tensor.Address)
                throw Damaged($"'{last.Name}' and '{tensor.Name}' overlap");
            last = tensor;
        }
    }

    private (string Name, long[] Shape, ElementType Type, ulong Offset) Info()
    {
        string name = String();
        uint dimensions = UInt32();
        if (dimensions is 0 or > 4)
            throw Damaged($"'{name}' has {dimensions} dimensions");
        long[] shape = new long[dimensions];
        long elements = 1;
        for (int i = shape.Length - 1; i >= 0; i--) // the file names the innermost first
        {
            ulong length = UInt64();
            if (length is 0 or > int.MaxValue || elements > long.MaxValue / 8 / (long)length)
                throw Damaged($"'{name}' has a dimension of {length}");
            shape[i] = (long)length;
            elements *= (long)length;
        }
        uint kind = UInt32();
        if (!Types.TryGetValue(kind, out ElementType type))
            throw new ModelLoadException($"'{name}' in {path} has GGUF type {kind}; {string.Join(", ", Types.Values)} can be served. Take the model in one of those.");
        if (!type.Fits(shape[^1]))
            throw Damaged($"'{name}' has rows of {shape[^1]}, which are no whole blocks of {type.Block().Values}");
        return (name, shape, type, UInt64());
    }

    private void Add(string name, long[] shape, ElementType type, ulong offset, ulong alignment, long data)
    {
        long bytes = type.Bytes(shape.Aggregate(1L, (product, length) => product * length));
        if (offset % alignment != 0 || offset > (ulong)file.Length || data + (long)offset + bytes > file.Length)
            throw Damaged($"'{name}' is said to lie at {offset} with {bytes} bytes, but the file has {file.Length}");
        if (!Tensors.TryAdd(name, new StoredTensor(name, type, shape, file.Address + (nint)(data + (long)offset), bytes, file)))
            throw Damaged($"'{name}' is in it twice");
    }

    private object Value(uint type, bool nested) => type switch
    {
        0 => (ulong)Bytes(1)[0],
        1 => (long)(sbyte)Bytes(1)[0],
        2 => (ulong)BinaryPrimitives.ReadUInt16LittleEndian(Bytes(2)),
        3 => (long)BinaryPrimitives.ReadInt16LittleEndian(Bytes(2)),
        4 => (ulong)UInt32(),
        5 => (long)(int)UInt32(),
        6 => (double)BinaryPrimitives.ReadSingleLittleEndian(Bytes(4)),
        7 => Bytes(1)[0] != 0,
        8 => String(),
        9 when !nested => List(),
        10 => UInt64(),
        11 => (long)UInt64(),
        12 => BinaryPrimitives.ReadDoubleLittleEndian(Bytes(8)),
        _ => throw Damaged($"an entry has type {type}"),
    };

    private List<object> List()
    {
        uint type = UInt32();
        ulong count = UInt64();
        if (count > (ulong)(file.Length - position)) // an element takes at least a byte
            throw Damaged($"a list has {count} entries");
        List<object> list = new((int)count);
        for (ulong i = 0; i < count; i++)
            list.Add(Value(type, nested: true));
        return list;
    }

    private uint UInt32() => BinaryPrimitives.ReadUInt32LittleEndian(Bytes(4));

    private ulong UInt64() => BinaryPrimitives.ReadUInt64LittleEndian(Bytes(8));

    private string String()
    {
        ulong length = UInt64();
        if (length > (ulong)(file.Length - position) || length > int.MaxValue)
            throw Damaged($"a text of {length} bytes begins at {position - 8}");
        return Encoding.UTF8.GetString(Bytes((int)length));
    }

    private ReadOnlySpan<byte> Bytes(int count)
    {
        if (count > file.Length - position)
            throw Damaged($"it ends at {file.Length} in the middle of its header");
        ReadOnlySpan<byte> bytes = file.Span(position, count);
        position += count;
        return bytes;
    }

    private ModelLoadException Damaged(string how) => new($"{path} is damaged or not complete: {how}. Fetch or convert it again.");
}
