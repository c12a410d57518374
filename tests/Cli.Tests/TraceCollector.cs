using System.Net;
using System.Text;

namespace XDeepServe.Cli.Tests;

/// <summary>A span as it came.</summary>
/// <param name="Process">Who sent it.</param>
/// <param name="Name">What was done.</param>
/// <param name="Trace">Trace id in hexadecimal digits.</param>
/// <param name="Id">Its own.</param>
/// <param name="Parent">That of the span around it.</param>
internal sealed record CollectedSpan(string Process, string Name, string Trace, string Id, string Parent);

/// <summary>Takes spans as a collector of OpenTelemetry does that speaks protobuf over HTTP.</summary>
internal sealed class TraceCollector : IDisposable
{
    private readonly HttpListener listener = new();
    private readonly List<CollectedSpan> spans = [];
    private readonly HashSet<string> paths = [];

    public TraceCollector()
    {
        Address = $"http://127.0.0.1:{XdsProcess.FreePort()}";
        listener.Prefixes.Add($"{Address}/");
        listener.Start();
        _ = ListenAsync();
    }

    /// <summary>Where it is.</summary>
    public string Address { get; }

    /// <summary>What has come.</summary>
    public CollectedSpan[] Spans
    {
        get
        {
            lock (spans)
                return [.. spans];
        }
    }

    /// <summary>The paths to which it was sent.</summary>
    public string[] Paths
    {
        get
        {
            lock (spans)
                return [.. paths];
        }
    }

    public void Dispose() => listener.Close();

    private async Task ListenAsync()
    {
        try
        {
            while (true)
            {
                HttpListenerContext asked = await listener.GetContextAsync();
                using MemoryStream body = new();
                await asked.Request.InputStream.CopyToAsync(body);
                lock (spans)
                {
                    paths.Add(asked.Request.Url!.AbsolutePath);
                    Read(body.ToArray());
                }
                asked.Response.Close();
            }
        }
        catch (Exception end) when (end is HttpListenerException or ObjectDisposedException)
        {
            // Closed.
        }
    }

    /// <summary>An ExportTraceServiceRequest: resource spans, each with the resource's attributes and, by scope, spans.</summary>
    private void Read(ReadOnlyMemory<byte> message)
    {
        foreach (ReadOnlyMemory<byte> resource in Fields(message, 1))
        {
            string process = Fields(resource, 1).SelectMany(one => Fields(one, 1)).Where(attribute => Text(attribute, 1) == "service.instance.id")
                .Select(attribute => Text(Fields(attribute, 2).Single(), 1)).Single();
            foreach (ReadOnlyMemory<byte> span in Fields(resource, 2).SelectMany(scope => Fields(scope, 2)))
                spans.Add(new CollectedSpan(process, Text(span, 5), Digits(span, 1), Digits(span, 2), Digits(span, 4)));
        }
    }

    private static string Text(ReadOnlyMemory<byte> message, int number) => string.Concat(Fields(message, number).Select(field => Encoding.UTF8.GetString(field.Span)));

    private static string Digits(ReadOnlyMemory<byte> message, int number) => string.Concat(Fields(message, number).Select(field => Convert.ToHexStringLower(field.Span)));

    /// <summary>The strings, bytes or messages with a number.</summary>
    private static List<ReadOnlyMemory<byte>> Fields(ReadOnlyMemory<byte> message, int number)
    {
        List<ReadOnlyMemory<byte>> found = [];
        for (int at = 0; at < message.Length;)
        {
            int tag = Number(message.Span, ref at);
            int length = (tag & 7) switch
            {
                0 => 0,
                1 => sizeof(ulong),
                2 => Number(message.Span, ref at),
                5 => sizeof(uint),
                _ => throw new InvalidDataException($"No field begins with {tag}."),
            };
            if ((tag & 7) == 0)
                _ = Number(message.Span, ref at);
            else if (tag == (number << 3 | 2))
                found.Add(message.Slice(at, length));
            at += length;
        }
        return found;
    }

    /// <summary>A varint; what is beyond 32 bits is left out.</summary>
    private static int Number(ReadOnlySpan<byte> message, ref int at)
    {
        ulong value = 0;
        for (int shift = 0; ; shift += 7)
        {
            byte next = message[at++];
            value |= (ulong)(next & 127) << shift;
            if (next < 128)
                return unchecked((int)value);
        }
    }
}
