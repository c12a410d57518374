using System.Buffers;
using System.Buffers.Text;
using System.Text;
using XDeepServe.Models.Images;
using XDeepServe.Models.Loading;
using XDeepServe.Server.Http;

namespace XDeepServe.Server.Requests;

/// <summary>Reads and prepares the images of a request, in order.</summary>
internal sealed class GivenImages(ServedModel model, ServerOptions options)
{
    private readonly List<float[]> _pixels = [];
    private readonly List<string> _sources = [];

    /// <summary>Pixels of each image, as the model takes them.</summary>
    public IReadOnlyList<float[]> Pixels => _pixels;

    /// <summary>Where each image came from, for another model that is to see it: a data URL, or a file's path.</summary>
    public IReadOnlyList<string> Sources => _sources;

    /// <summary>Takes the image of an <c>image_url</c> part.</summary>
    /// <param name="part">The part.</param>
    /// <param name="path">Where it stands in the request.</param>
    /// <exception cref="ApiException">400: the model takes no images, there are too many, or this one cannot be read.</exception>
    public void Add(JsonFields part, string path)
    {
        string name = part.Name("image_url");
        if (model.Images is not { } input)
        {
            throw ApiException.BadRequest($"'{path}' holds an image, but this model takes text only.", path);
        }
        if ((_pixels.Count + 1L) * input.Shape.Rows >= model.MaxModelLength)
        {
            throw ApiException.BadRequest(
                $"The request holds more images than fit: each takes {input.Shape.Rows} tokens of the {model.MaxModelLength} that prompt and answer may have.", name);
        }
        try
        {
            (string source, byte[] bytes) = Read(Url(part, name), name);
            _pixels.Add(input.Processor.Process(bytes));
            _sources.Add(source);
        }
        catch (ImageException bad)
        {
            throw ApiException.BadRequest($"'{name}': {bad.Message}", name);
        }
    }

    private static string Url(JsonFields part, string name)
    {
        System.Text.Json.JsonElement given = part.Find("image_url") ?? throw ApiException.BadRequest($"'{name}' is missing.", name);
        if (given.ValueKind == System.Text.Json.JsonValueKind.String)
        {
            return JsonFields.Text(given, name);
        }
        JsonFields fields = new(given, name);
        fields.Ignore("detail");
        return fields.String("url") ?? throw ApiException.BadRequest($"'{name}.url' is missing.", name);
    }

    private (string Source, byte[] Bytes) Read(string url, string name)
    {
        if (url.StartsWith("data:", StringComparison.OrdinalIgnoreCase))
        {
            return (url, Data(url, name));
        }
        if (url.StartsWith("file://", StringComparison.OrdinalIgnoreCase))
        {
            return LocalFile(url, name);
        }
        throw ApiException.BadRequest($"'{name}' must be a data URL (data:image/png;base64,…): this server fetches nothing from elsewhere.", name);
    }

    private static byte[] Data(string url, string name)
    {
        int comma = url.IndexOf(',', StringComparison.Ordinal);
        if (comma < 0 || !url.AsSpan(0, comma).EndsWith(";base64", StringComparison.OrdinalIgnoreCase))
        {
            throw ApiException.BadRequest($"'{name}' must be a data URL in base64: data:image/png;base64,…", name);
        }
        byte[] bytes = Encoding.ASCII.GetBytes(url[(comma + 1)..]);
        OperationStatus status = Base64.DecodeFromUtf8InPlace(bytes, out int length);
        return status == OperationStatus.Done
            ? bytes[..length]
            : throw ApiException.BadRequest($"'{name}' is not valid base64 behind its comma.", name);
    }

    private (string Path, byte[] Bytes) LocalFile(string url, string name)
    {
        if (options.AllowedLocalMediaPath is not { } folder)
        {
            throw ApiException.BadRequest($"'{name}' names a file, which this server was not started to allow (--allowed-local-media-path); send a data URL.", name);
        }
        ApiException outside = ApiException.BadRequest($"'{name}' names no file within the folder that --allowed-local-media-path allows.", name);
        if (!Uri.TryCreate(url, UriKind.Absolute, out Uri? address) || !address.IsFile || address.IsUnc)
        {
            throw outside;
        }
        try
        {
            // Links are followed first, so that one within the folder cannot lead out of it.
            string root = Path.TrimEndingDirectorySeparator(RealPath.Of(Path.GetFullPath(folder))) + Path.DirectorySeparatorChar;
            string file = RealPath.Of(Path.GetFullPath(address.LocalPath));
            if (!file.StartsWith(root, StringComparison.Ordinal) || !File.Exists(file))
            {
                throw outside;
            }
            return new FileInfo(file).Length <= options.MaxBodyBytes
                ? (file, File.ReadAllBytes(file))
                : throw ApiException.BadRequest($"'{name}' names a file of more than {options.MaxBodyBytes} bytes.", name);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw outside;
        }
    }
}
