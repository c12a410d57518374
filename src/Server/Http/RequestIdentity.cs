using Microsoft.AspNetCore.Http;

namespace XDeepServe.Server.Http;

/// <summary>The id under which a request appears in answers and logs.</summary>
internal static class RequestIdentity
{
    private const string Header = "X-Request-Id";
    private const int Longest = 128;

    /// <summary>Takes the client's id if it is printable and short, else makes one, and sends it back as a header.</summary>
    public static void Assign(HttpContext context)
    {
        string given = context.Request.Headers[Header].ToString();
        string id = given.Length is > 0 and <= Longest && !given.AsSpan().ContainsAnyExceptInRange('!', '~')
            ? given
            : Guid.NewGuid().ToString("N");
        context.TraceIdentifier = id;
        context.Response.Headers[Header] = id;
    }
}
