using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.Net.Http.Headers;

namespace XDeepServe.Server.Http;

/// <summary>Lets a request pass if its path is open to all or it carries one of the keys.</summary>
internal sealed class KeyGate(IReadOnlyList<string> keys)
{
    private const string Scheme = "Bearer ";
    private readonly byte[][] _digests = [.. keys.Select(key => SHA256.HashData(Encoding.UTF8.GetBytes(key)))];

    /// <summary>Checks the request.</summary>
    /// <exception cref="ApiException">401 without a valid key.</exception>
    public void Check(HttpContext context)
    {
        if (_digests.Length == 0 || IsOpen(context.Request.Path.Value ?? "") || HasKey(context.Request.Headers.Authorization.ToString()))
        {
            return;
        }
        context.Response.Headers[HeaderNames.WWWAuthenticate] = "Bearer";
        throw new ApiException(401, "A valid API key is needed: send the header 'Authorization: Bearer KEY'.");
    }

    // Probes and scrapers carry no key; the page asks its user for one.
    private static bool IsOpen(string path) => path
        is "/health" or "/ready" or "/ping" or "/version" or "/metrics" or "/load" or "/status" or "/experts"
        or "/" or "/page.css" or "/page.js" or "/icon.svg" or "/favicon.ico";

    // Digests of equal length are compared in constant time, so that timing tells nothing about a key.
    private bool HasKey(string header)
    {
        if (!header.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
        {
            return false;
        }
        byte[] digest = SHA256.HashData(Encoding.UTF8.GetBytes(header[Scheme.Length..].Trim()));
        bool found = false;
        foreach (byte[] known in _digests)
        {
            found |= CryptographicOperations.FixedTimeEquals(known, digest);
        }
        return found;
    }
}
