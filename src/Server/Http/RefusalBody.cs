using System.Buffers;
using System.Buffers.Text;
using System.IO.Pipelines;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Connections;
using XDeepServe.Server.Responses;

namespace XDeepServe.Server.Http;

/// <summary>
/// Gives refusals that Kestrel sends by itself (a broken request line, headers too long, …) an error body. Such an answer never
/// reaches the application: Kestrel writes a status line and headers with <c>Content-Length: 0</c> and closes. Every answer of the application
/// that has a status of 400 or more has a body or an id, so one without both is Kestrel's.
/// </summary>
internal sealed class RefusalBody(PipeWriter inner) : PipeWriter
{
    private Memory<byte> _block;

    /// <summary>Puts the writer between Kestrel and a connection's output.</summary>
    public static ConnectionDelegate Wrap(ConnectionDelegate next) => connection =>
    {
        IDuplexPipe transport = connection.Transport;
        connection.Transport = new Duplex(transport.Input, new RefusalBody(transport.Output));
        return next(connection);
    };

    /// <inheritdoc/>
    public override bool CanGetUnflushedBytes => inner.CanGetUnflushedBytes;

    /// <inheritdoc/>
    public override long UnflushedBytes => inner.UnflushedBytes;

    /// <inheritdoc/>
    public override Memory<byte> GetMemory(int sizeHint = 0) => _block = inner.GetMemory(sizeHint);

    /// <inheritdoc/>
    public override Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;

    /// <inheritdoc/>
    public override void Advance(int bytes)
    {
        ReadOnlySpan<byte> written = _block.Span[..Math.Min(bytes, _block.Length)];
        if (IsRefusal(written, out int status))
        {
            byte[] full = WithBody(written, status);
            if (full.Length <= _block.Length)
            {
                full.CopyTo(_block.Span);
                bytes = full.Length;
            }
        }
        // A block may be filled piece by piece.
        _block = _block[Math.Min(bytes, _block.Length)..];
        inner.Advance(bytes);
    }

    /// <inheritdoc/>
    public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default) => inner.FlushAsync(cancellationToken);

    /// <inheritdoc/>
    public override ValueTask<FlushResult> WriteAsync(ReadOnlyMemory<byte> source, CancellationToken cancellationToken = default) =>
        inner.WriteAsync(source, cancellationToken);

    /// <inheritdoc/>
    public override void CancelPendingFlush() => inner.CancelPendingFlush();

    /// <inheritdoc/>
    public override void Complete(Exception? exception = null) => inner.Complete(exception);

    /// <inheritdoc/>
    public override ValueTask CompleteAsync(Exception? exception = null) => inner.CompleteAsync(exception);

    private static ReadOnlySpan<byte> EmptyLength => "Content-Length: 0\r\n"u8;

    private static bool IsRefusal(ReadOnlySpan<byte> written, out int status)
    {
        status = 0;
        ReadOnlySpan<byte> start = "HTTP/1.1 "u8;
        return written.StartsWith(start)
            && Utf8Parser.TryParse(written[start.Length..], out status, out int _)
            && status >= 400
            && written.EndsWith("\r\n\r\n"u8)
            && written.IndexOf(EmptyLength) >= 0
            && written.IndexOf("X-Request-Id"u8) < 0;
    }

    private static byte[] WithBody(ReadOnlySpan<byte> head, int status)
    {
        ArrayBufferWriter<byte> body = new();
        using (Utf8JsonWriter json = new(body, JsonAnswer.Options))
        {
            ErrorBody.Of(status).Write(json);
        }
        int at = head.IndexOf(EmptyLength);
        byte[] fields = Encoding.ASCII.GetBytes($"Content-Type: application/json\r\nContent-Length: {body.WrittenCount}\r\n");
        return [.. head[..at], .. fields, .. head[(at + EmptyLength.Length)..], .. body.WrittenSpan];
    }

    private sealed record Duplex(PipeReader Input, PipeWriter Output) : IDuplexPipe;
}
