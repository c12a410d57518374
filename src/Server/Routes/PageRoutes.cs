using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace XDeepServe.Server.Routes;

/// <summary>The page at <c>/</c> and its parts, from the assembly itself.</summary>
internal static class PageRoutes
{
    // The page runs only its own files and talks only to its own server.
    private const string Policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    private static readonly string[] s_methods = [HttpMethods.Get, HttpMethods.Head];

    /// <summary>Adds the routes.</summary>
    public static void Map(IEndpointRouteBuilder routes)
    {
        MapFile(routes, "/", "index.html", "text/html; charset=utf-8");
        MapFile(routes, "/page.css", "page.css", "text/css; charset=utf-8");
        MapFile(routes, "/page.js", "page.js", "text/javascript; charset=utf-8");
        MapFile(routes, "/icon.svg", "icon.svg", "image/svg+xml");
        MapFile(routes, "/favicon.ico", "icon.svg", "image/svg+xml");
    }

    private static void MapFile(IEndpointRouteBuilder routes, string path, string file, string type)
    {
        byte[] content = Read(file);
        routes.MapMethods(path, s_methods, (RequestDelegate)(async context =>
        {
            HttpResponse response = context.Response;
            response.ContentType = type;
            response.ContentLength = content.Length;
            response.Headers.ContentSecurityPolicy = Policy;
            response.Headers.XContentTypeOptions = "nosniff";
            response.Headers["Referrer-Policy"] = "no-referrer";
            // A new version of the server brings its own page.
            response.Headers.CacheControl = "no-cache";
            if (!HttpMethods.IsHead(context.Request.Method))
            {
                await response.BodyWriter.WriteAsync(content, context.RequestAborted);
            }
        }));
    }

    private static byte[] Read(string file)
    {
        string name = $"XDeepServe.Server.Page.{file}";
        using Stream stream = typeof(PageRoutes).Assembly.GetManifestResourceStream(name)
            ?? throw new InvalidOperationException($"The assembly lacks its resource {name}.");
        byte[] content = new byte[stream.Length];
        stream.ReadExactly(content);
        return content;
    }
}
