using System.Buffers;
using System.Net;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Net.Http.Headers;
using XDeepServe.Models.Loading;
using XDeepServe.Server.Control.Messages;

namespace XDeepServe.Server.Control.Weights;

/// <summary>
/// Gives the files of this process's model to workers on hosts that do not have them (paper §2.1, the fork of a running Task Executor), over HTTP of its own:
/// ranges of a file, each with its <c>Content-Digest</c>. Listens once it was asked for. Any thread.
/// </summary>
/// <param name="path">The model's folder or GGUF file.</param>
/// <param name="address">Where other processes reach this one.</param>
internal sealed class ModelShare(string path, IPAddress address) : IAsyncDisposable
{
    /// <summary>Most bytes of a range.</summary>
    internal const int MostBytes = 16 << 20;

    private readonly SemaphoreSlim _gate = new(1);
    private WebApplication? _app;
    private ModelOffer? _offer;
    private bool _closed;

    /// <summary>Where the files can be fetched; null if this process is about to end.</summary>
    /// <exception cref="IOException">They are not there any more.</exception>
    public async Task<ModelOffer?> OfferAsync()
    {
        await _gate.WaitAsync().ConfigureAwait(false);
        try
        {
            return _closed ? null : _offer ??= await OpenAsync().ConfigureAwait(false);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Nothing is given from here on.</summary>
    public async ValueTask DisposeAsync()
    {
        await _gate.WaitAsync().ConfigureAwait(false);
        _closed = true;
        if (_app is { } app)
        {
            _app = null;
            await app.DisposeAsync().ConfigureAwait(false);
        }
        _gate.Release();
    }

    private async Task<ModelOffer> OpenAsync()
    {
        ModelFiles files = ModelFiles.Of(path);
        ulong fingerprint = files.Fingerprint();
        string secret = $"/{RandomNumberGenerator.GetHexString(32, lowercase: true)}/";
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "XDeepServe" });
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel => kestrel.Listen(address, 0));
        WebApplication app = builder.Build();
        app.Run(context => context.Request.Path.Value is { } asked && asked.StartsWith(secret, StringComparison.Ordinal)
            && files.Files.FirstOrDefault(file => file.Name == asked[secret.Length..]) is { Name: { } name } file
                ? SendAsync(context, Path.Combine(files.Folder, name), file.Bytes)
                : RefuseAsync(context, StatusCodes.Status404NotFound));
        await app.StartAsync().ConfigureAwait(false);
        _app = app;
        return new ModelOffer { Url = app.Urls.First() + secret, Fingerprint = fingerprint, Files = [.. files.Files.Select(file => new OfferedFile(file.Name, file.Bytes))] };
    }

    private static async Task SendAsync(HttpContext context, string file, long size)
    {
        if (context.Request.GetTypedHeaders().Range is not { Ranges: { Count: 1 } ranges } || ranges.First() is not { From: { } from, To: { } to } || to < from || to - from >= MostBytes)
        {
            await RefuseAsync(context, StatusCodes.Status400BadRequest).ConfigureAwait(false);
            return;
        }
        int length = (int)(to - from + 1);
        byte[] bytes = ArrayPool<byte>.Shared.Rent(length);
        try
        {
            using FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1);
            if (to >= size || stream.Length != size)
            {
                await RefuseAsync(context, stream.Length == size ? StatusCodes.Status416RangeNotSatisfiable : StatusCodes.Status410Gone).ConfigureAwait(false);
                return;
            }
            stream.Position = from;
            await stream.ReadExactlyAsync(bytes.AsMemory(0, length), context.RequestAborted).ConfigureAwait(false);
            context.Response.StatusCode = StatusCodes.Status206PartialContent;
            context.Response.ContentLength = length;
            context.Response.GetTypedHeaders().ContentRange = new ContentRangeHeaderValue(from, to, size);
            context.Response.Headers["Content-Digest"] = Digest(bytes.AsSpan(0, length));
            await context.Response.Body.WriteAsync(bytes.AsMemory(0, length), context.RequestAborted).ConfigureAwait(false);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
        }
    }

    /// <summary>The digest of bytes, as RFC 9530 writes it.</summary>
    internal static string Digest(ReadOnlySpan<byte> bytes) => $"sha-256=:{Convert.ToBase64String(SHA256.HashData(bytes))}:";

    private static Task RefuseAsync(HttpContext context, int status)
    {
        context.Response.StatusCode = status;
        return Task.CompletedTask;
    }
}
