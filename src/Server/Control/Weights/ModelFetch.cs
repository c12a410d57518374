using System.Globalization;
using System.Net.Http.Headers;
using XDeepServe.Models.Loading;
using XDeepServe.Server.Control.Messages;

namespace XDeepServe.Server.Control.Weights;

/// <summary>
/// Brings a model's files to this host from a <see cref="ModelShare"/>. What has come lies in a folder of its own until all of it has, named for the model: whoever begins
/// again goes on behind what was there. Then it takes its place with one rename.
/// </summary>
/// <param name="target">The folder that is to be there.</param>
internal sealed class ModelFetch(string target) : IDisposable
{
    private const int Attempts = 3, Locked = 11; // EAGAIN
    private static readonly TimeSpan s_claimInterval = TimeSpan.FromMilliseconds(100), s_rangePatience = TimeSpan.FromSeconds(60);
    private readonly HttpClient _client = new(new SocketsHttpHandler { UseProxy = false }) { Timeout = s_rangePatience };

    /// <summary>Bytes that have come.</summary>
    public long Received { get; private set; }

    /// <summary>Fetches what is missing.</summary>
    /// <param name="offer">Where from.</param>
    /// <param name="cancel">Gives up; what has come stays.</param>
    /// <exception cref="HttpRequestException">The other process does not answer, refuses, or its bytes are damaged: another may do better.</exception>
    /// <exception cref="IOException">This host cannot take the files; says what to do.</exception>
    public async Task RunAsync(ModelOffer offer, CancellationToken cancel)
    {
        string part = string.Create(CultureInfo.InvariantCulture, $"{target}.{offer.Fingerprint:x16}.part"), claim = Path.Combine(part, ".claim");
        if (offer.Files.FirstOrDefault(file => file.Name.Length == 0 || file.Name[0] == '.' || Path.GetFileName(file.Name) != file.Name) is { } odd)
        {
            throw new HttpRequestException($"'{odd.Name}' is no name for a model's file.");
        }
        if (Directory.Exists(target))
        {
            return;
        }
        Directory.CreateDirectory(part);
        using (FileStream? mine = await ClaimAsync(claim, cancel).ConfigureAwait(false))
        {
            if (mine is null)
            {
                return; // another process has brought it here
            }
            long missing = offer.Files.Sum(file => file.Bytes - (new FileInfo(Path.Combine(part, file.Name)) is { Exists: true } there ? there.Length : 0));
            if (new DriveInfo(part).AvailableFreeSpace is var room && room < missing)
            {
                throw new IOException($"{part} has room for {room >> 20} MiB, but {missing >> 20} MiB of the model are still to come. Make room, or name a folder elsewhere.");
            }
            foreach (OfferedFile file in offer.Files)
            {
                await BringAsync(offer, file, Path.Combine(part, file.Name), cancel).ConfigureAwait(false);
            }
            if (ModelFiles.Of(part).Fingerprint() != offer.Fingerprint)
            {
                Directory.Delete(part, recursive: true);
                throw new HttpRequestException("What has come is not the model that was offered.");
            }
            Directory.Move(part, target);
            File.Delete(Path.Combine(target, Path.GetFileName(claim)));
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _client.Dispose();

    /// <summary>Waits until no other process of this host fetches the same.</summary>
    /// <returns>Null if the model is there.</returns>
    private async Task<FileStream?> ClaimAsync(string claim, CancellationToken cancel)
    {
        while (true)
        {
            try
            {
                FileStream mine = new(claim, FileMode.OpenOrCreate, FileAccess.Write, FileShare.None);
                if (!Directory.Exists(target))
                {
                    return mine;
                }
                await mine.DisposeAsync().ConfigureAwait(false);
                Directory.Delete(Path.GetDirectoryName(claim)!, recursive: true); // it was made anew just now
                return null;
            }
            catch (IOException) when (Directory.Exists(target))
            {
                return null; // the folder of what has come has just become the target
            }
            catch (IOException taken) when (taken.HResult == Locked)
            {
                await Task.Delay(s_claimInterval, cancel).ConfigureAwait(false);
            }
        }
    }

    private async Task BringAsync(ModelOffer offer, OfferedFile file, string path, CancellationToken cancel)
    {
        await using FileStream stream = new(path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.None, 1);
        if (stream.Length > file.Bytes)
        {
            stream.SetLength(0);
        }
        stream.Position = stream.Length;
        while (stream.Position < file.Bytes)
        {
            byte[] bytes = await GetAsync(offer.Url + Uri.EscapeDataString(file.Name), stream.Position, Math.Min(ModelShare.MostBytes, file.Bytes - stream.Position), cancel).ConfigureAwait(false);
            await stream.WriteAsync(bytes, cancel).ConfigureAwait(false);
            Received += bytes.Length;
        }
        stream.Flush(flushToDisk: true);
    }

    private async Task<byte[]> GetAsync(string url, long from, long length, CancellationToken cancel)
    {
        for (int attempt = 1; ; attempt++)
        {
            using HttpRequestMessage request = new(HttpMethod.Get, url) { Headers = { Range = new RangeHeaderValue(from, from + length - 1) } };
            try
            {
                using HttpResponseMessage response = await _client.SendAsync(request, cancel).ConfigureAwait(false);
                response.EnsureSuccessStatusCode();
                byte[] bytes = await response.Content.ReadAsByteArrayAsync(cancel).ConfigureAwait(false);
                if (bytes.Length == length && response.Headers.TryGetValues("Content-Digest", out IEnumerable<string>? digest) && digest.Single() == ModelShare.Digest(bytes))
                {
                    return bytes;
                }
                throw new HttpRequestException($"{bytes.Length} bytes came damaged, where {length} were asked for.");
            }
            catch (OperationCanceledException late) when (!cancel.IsCancellationRequested)
            {
                throw new HttpRequestException($"Nothing came for {s_rangePatience.TotalSeconds:0} s.", late);
            }
            catch (HttpRequestException) when (attempt < Attempts)
            {
                // Asked again.
            }
        }
    }
}
