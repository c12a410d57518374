using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using XDeepServe.Server.Control.Frontend;
using XDeepServe.Server.Control.Messages;
using XDeepServe.Server.Http;
using XDeepServe.Server.Metrics;
using XDeepServe.Server.Requests;
using XDeepServe.Transformerless;

namespace XDeepServe.Server.Routes;

/// <summary><c>/scale</c>: desires another number of workers of a role.</summary>
internal sealed class ScaleRoutes(ServerState state)
{
    /// <summary>Adds the route.</summary>
    public void Map(IEndpointRouteBuilder routes) => routes.MapPost("/scale", (RequestDelegate)ScaleAsync);

    private async Task ScaleAsync(HttpContext context)
    {
        if (state.Require().Served.Engine is not ClusterEngine service)
        {
            throw new ApiException(409, "This server is one process: start it with --topology to have workers.");
        }
        using JsonDocument body = await RequestBody.ReadAsync(context, state.Options.MaxBodyBytes);
        JsonFields fields = new(body.RootElement);
        string name = fields.String("role") ?? throw ApiException.BadRequest("Give 'role': colocated, prefill or decode.", "role");
        int workers = fields.Integer("workers", 1, Topology.MaxWorkers) ?? throw ApiException.BadRequest("Give 'workers': how many there are to be.", "workers");
        WorkerRole role = Enum.GetValues<WorkerRole>().Where(RoleScaling.Fits).Cast<WorkerRole?>().FirstOrDefault(candidate => candidate.ToString()!.Equals(name, StringComparison.OrdinalIgnoreCase))
            ?? throw ApiException.BadRequest($"'{name}' has no number of workers that can change; colocated, prefill and decode have.", "role");
        DesiredWorkers desired = await service.WantAsync(role, workers)
            ?? throw new ApiException(409, "Nobody launches workers of this service: start and end them where they run.");
        if (!desired.Roles.ContainsKey(role))
        {
            throw ApiException.BadRequest($"The topology has no workers of role '{name}' whose number can change.", "role");
        }
        await JsonAnswer.SendAsync(context, 200, json =>
        {
            json.WriteStartObject();
            WorkerStatus.Write(json, desired);
            json.WriteEndObject();
        });
    }
}
