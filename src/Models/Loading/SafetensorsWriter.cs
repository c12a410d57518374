using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json.Nodes;
using XDeepServe.Kernels;

namespace XDeepServe.Models.Loading;

/// <summary>Writes a safetensors file: collects tensors, then writes header and values in one pass.</summary>
public sealed class SafetensorsWriter
{
    private readonly List<(string Name, long[] Shape, ElementType Type, Action<Stream> Write)> tensors = [];

    private readonly List<(string Name, long[] Shape, float[] Values)> late = [];

    /// <summary>Adds a tensor.</summary>
    /// <param name="name">Hugging Face name.</param>
    /// <param name="shape">Outermost dimension first.</param>
    /// <param name="type">F32, F16, BF16, F8 or I8.</param>
    /// <param name="write">Writes the values, row by row.</param>
    public void Add(string name, long[] shape, ElementType type, Action<Stream> write) => tensors.Add((name, shape, type, write));

    /// <summary>Adds an F32 tensor whose values are known only when all others have been written. It lies in front of them.</summary>
    public void AddLate(string name, long[] shape, float[] values) => late.Add((name, shape, values));

    /// <summary>Writes everything; tensors are written in the order in which they were added.</summary>
    /// <param name="stream">Receives the file; can seek.</param>
    /// <param name="progress">Receives fractions from 0 to 1.</param>
    public void Write(Stream stream, IProgress<double>? progress)
    {
        JsonObject header = new() { ["__metadata__"] = new JsonObject { ["format"] = "pt" } };
        long total = 0;
        foreach ((string name, long[] shape, _) in late)
            Describe(name, shape, ElementType.F32);
        long front = total;
        foreach ((string name, long[] shape, ElementType type, _) in tensors)
            Describe(name, shape, type);
        byte[] json = Encoding.UTF8.GetBytes(header.ToJsonString());
        int padding = (8 - json.Length % 8) % 8; // values begin at a multiple of 8
        stream.Write(BitConverter.GetBytes((ulong)(json.Length + padding)));
        stream.Write(json);
        stream.Write(Encoding.ASCII.GetBytes(new string(' ', padding)));
        long data = stream.Position, done = 0;
        stream.Seek(front, SeekOrigin.Current);
        foreach ((string name, long[] shape, ElementType type, Action<Stream> write) in tensors)
        {
            long start = stream.Position;
            write(stream);
            if (stream.Position - start != Bytes(type, shape))
                throw new InvalidOperationException($"'{name}' wrote {stream.Position - start} bytes instead of {Bytes(type, shape)}.");
            done += Bytes(type, shape);
            progress?.Report((double)done / (total - front));
        }
        stream.Position = data;
        foreach ((_, _, float[] values) in late)
            stream.Write(MemoryMarshal.AsBytes<float>(values));

        void Describe(string name, long[] shape, ElementType type)
        {
            long bytes = Bytes(type, shape);
            header[name] = new JsonObject
            {
                ["dtype"] = type == ElementType.F8 ? "F8_E4M3" : type.ToString(),
                ["shape"] = new JsonArray([.. shape.Select(length => (JsonNode)length)]),
                ["data_offsets"] = new JsonArray(total, total + bytes),
            };
            total += bytes;
        }
    }

    private static long Bytes(ElementType type, long[] shape) => type.Bytes(shape.Aggregate(1L, (product, length) => product * length));
}
