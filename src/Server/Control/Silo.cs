using System.Net;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Clustering.Redis;
using Orleans.Configuration;
using Orleans.Runtime;
using XDeepServe.Server.Control.Executor;
using XDeepServe.Server.Control.Frontend;
using XDeepServe.Server.Control.Grains;
using XDeepServe.Transformerless;

namespace XDeepServe.Server.Control;

/// <summary>Orleans as a service uses it: who is in it, how the dead are found, where grains are placed.</summary>
internal static class Silo
{
    /// <summary>Builds it; nothing runs yet.</summary>
    /// <param name="options">The service and this process in it.</param>
    /// <param name="endPoint">Where the others reach it.</param>
    /// <param name="logging">What is logged where; null for nowhere.</param>
    public static IHost Build(ServiceOptions options, IPEndPoint endPoint, Action<ILoggingBuilder>? logging)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings { ApplicationName = "XDeepServe" });
        logging?.Invoke(builder.Logging);
        builder.Services.AddSingleton(options).AddSingleton<ExecutorSlot>().AddSingleton<ClusterView>().AddSingleton<ClusterPlace>();
        builder.UseOrleans(silo =>
        {
            silo.Configure<ClusterOptions>(cluster => (cluster.ClusterId, cluster.ServiceId) = (options.Name, options.Name));
            silo.Configure<SiloOptions>(self => self.SiloName = options.Worker);
            silo.ConfigureEndpoints(endPoint.Address, endPoint.Port, gatewayPort: 0);
            silo.Configure<SiloMessagingOptions>(messaging => messaging.ResponseTimeout = options.HeartbeatPatience * 2);
            silo.Configure<ClusterMembershipOptions>(membership =>
            {
                membership.ProbeTimeout = TimeSpan.FromSeconds(2);
                membership.NumMissedProbesLimit = 2;
                if (options.Redis is null)
                {
                    // The launcher finds the dead, whose vote is enough: if all others die at once nobody else is left to vote. Nobody watches the launcher: there is
                    // no service without it, and one that was held up for some seconds would end when it learns that the others called it dead.
                    membership.NumVotesForDeathDeclaration = 1;
                    membership.NumProbedSilos = Topology.MaxWorkers;
                    if (options.Primary is not null)
                    {
                        membership.NumMissedProbesLimit = int.MaxValue;
                    }
                }
                membership.DefunctSiloExpiration = TimeSpan.FromHours(1);
            });
            // Nothing here is placed by the load that silos tell each other of every second.
            silo.Configure<DeploymentLoadPublisherOptions>(load => load.DeploymentLoadPublisherRefreshTime = TimeSpan.FromMinutes(5));
            silo.Services.AddSingleton<ILifecycleParticipant<ISiloLifecycle>, JoinTurn>();
            silo.AddPlacementDirector<OwnSilo, OwnSiloDirector>();
            if (options.Redis is { } redis)
            {
                silo.UseRedisClustering(redis);
            }
            else
            {
                silo.UseDevelopmentClustering(options.Primary ?? endPoint);
            }
        });
        return builder.Build();
    }
}
