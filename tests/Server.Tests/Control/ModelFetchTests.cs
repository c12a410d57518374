using System.Net;
using System.Net.Http.Headers;
using XDeepServe.Models.Loading;
using XDeepServe.Server.Control.Messages;
using XDeepServe.Server.Control.Weights;

namespace XDeepServe.Server.Tests.Control;

/// <summary>A model's files come to a host that does not have them, whole or not at all.</summary>
public sealed class ModelFetchTests : IAsyncDisposable
{
    private const int Large = ModelShare.MostBytes + 12345;
    private readonly DirectoryInfo _root = Directory.CreateTempSubdirectory("xds-fetch-");
    private readonly ModelShare _share;
    private readonly ModelFetch _fetch;

    public ModelFetchTests()
    {
        Directory.CreateDirectory(Source);
        byte[] weights = new byte[Large];
        new Random(1).NextBytes(weights);
        File.WriteAllBytes(Path.Combine(Source, "model.safetensors"), weights);
        File.WriteAllText(Path.Combine(Source, "config.json"), "{}");
        File.WriteAllText(Path.Combine(Source, "empty.txt"), "");
        File.WriteAllText(Path.Combine(Source, "notes.md"), "no part of the model");
        (_share, _fetch) = (new ModelShare(Source, IPAddress.Loopback), new ModelFetch(Target));
    }

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private string Source => Path.Combine(_root.FullName, "source");

    private string Target => Path.Combine(_root.FullName, "models", "target");

    [Fact]
    public async Task FilesComeAsTheyAre()
    {
        await _fetch.RunAsync((await _share.OfferAsync())!, Cancel);
        Assert.Equal(["config.json", "empty.txt", "model.safetensors"], Directory.GetFiles(Target).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.Equal(File.ReadAllBytes(Path.Combine(Source, "model.safetensors")), File.ReadAllBytes(Path.Combine(Target, "model.safetensors")));
        Assert.Equal(Large + 2, _fetch.Received);
        Assert.Equal([Target], Directory.GetFileSystemEntries(Path.GetDirectoryName(Target)!));
        await _fetch.RunAsync((await _share.OfferAsync())!, Cancel);
        Assert.Equal(Large + 2, _fetch.Received); // it was there
    }

    [Fact]
    public async Task WhatHasComeIsNotFetchedAgain()
    {
        ModelOffer offer = (await _share.OfferAsync())!;
        await _share.DisposeAsync();
        Assert.Null(await _share.OfferAsync());
        HttpRequestException cut = await Assert.ThrowsAsync<HttpRequestException>(() => _fetch.RunAsync(offer, Cancel));
        Assert.NotEmpty(cut.Message);
        Assert.False(Directory.Exists(Target));
        string part = Assert.Single(Directory.GetDirectories(Path.GetDirectoryName(Target)!));
        File.WriteAllBytes(Path.Combine(part, "model.safetensors"), File.ReadAllBytes(Path.Combine(Source, "model.safetensors"))[..ModelShare.MostBytes]);
        await using ModelShare other = new(Source, IPAddress.Loopback);
        await _fetch.RunAsync((await other.OfferAsync())!, Cancel);
        Assert.Equal(Large - ModelShare.MostBytes + 2, _fetch.Received);
        Assert.Equal(File.ReadAllBytes(Path.Combine(Source, "model.safetensors")), File.ReadAllBytes(Path.Combine(Target, "model.safetensors")));
    }

    [Fact]
    public async Task OnlyOneOfAHostFetches()
    {
        ModelOffer offer = (await _share.OfferAsync())!;
        using ModelFetch other = new(Target);
        await Task.WhenAll(Task.Run(() => _fetch.RunAsync(offer, Cancel), Cancel), Task.Run(() => other.RunAsync(offer, Cancel), Cancel));
        Assert.Equal(Large + 2, _fetch.Received + other.Received);
        Assert.Equal([Target], Directory.GetFileSystemEntries(Path.GetDirectoryName(Target)!));
    }

    [Fact]
    public async Task AnotherModelIsRefused()
    {
        ModelOffer offer = (await _share.OfferAsync())! with { Fingerprint = 5 };
        Assert.Contains("not the model", (await Assert.ThrowsAsync<HttpRequestException>(() => _fetch.RunAsync(offer, Cancel))).Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(Path.GetDirectoryName(Target)!));
        // A file that has changed since it was offered, and names that would leave the folder.
        File.AppendAllText(Path.Combine(Source, "model.safetensors"), "more");
        Assert.Equal(HttpStatusCode.Gone, (await Assert.ThrowsAsync<HttpRequestException>(() => _fetch.RunAsync(offer, Cancel))).StatusCode);
        foreach (string name in (string[])["../config.json", "/etc/passwd", ".claim", ""])
        {
            await Assert.ThrowsAsync<HttpRequestException>(() => _fetch.RunAsync(offer with { Files = [new OfferedFile(name, 1)] }, Cancel));
        }
    }

    [Fact]
    public async Task WhoDoesNotKnowTheWayGetsNothing()
    {
        ModelOffer offer = (await _share.OfferAsync())!;
        using HttpClient client = new(new SocketsHttpHandler { UseProxy = false });
        Assert.Equal(HttpStatusCode.PartialContent, await AskAsync(offer.Url + "config.json", new RangeHeaderValue(0, 1)));
        Assert.Equal(HttpStatusCode.NotFound, await AskAsync(new Uri(new Uri(offer.Url), "/config.json").ToString(), new RangeHeaderValue(0, 1)));
        Assert.Equal(HttpStatusCode.NotFound, await AskAsync(offer.Url + "notes.md", new RangeHeaderValue(0, 1)));
        Assert.Equal(HttpStatusCode.NotFound, await AskAsync(offer.Url + "..%2Fsource%2Fconfig.json", new RangeHeaderValue(0, 1)));
        Assert.Equal(HttpStatusCode.RequestedRangeNotSatisfiable, await AskAsync(offer.Url + "config.json", new RangeHeaderValue(0, 2)));
        Assert.Equal(HttpStatusCode.BadRequest, await AskAsync(offer.Url + "model.safetensors", new RangeHeaderValue(0, ModelShare.MostBytes)));
        Assert.Equal(HttpStatusCode.BadRequest, await AskAsync(offer.Url + "model.safetensors", null));

        async Task<HttpStatusCode> AskAsync(string url, RangeHeaderValue? range)
        {
            using HttpRequestMessage request = new(HttpMethod.Get, url) { Headers = { Range = range } };
            using HttpResponseMessage response = await client.SendAsync(request, Cancel);
            return response.StatusCode;
        }
    }

    public async ValueTask DisposeAsync()
    {
        _fetch.Dispose();
        await _share.DisposeAsync();
        _root.Delete(recursive: true);
    }
}
