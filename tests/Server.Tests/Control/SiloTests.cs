using System.Net;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Orleans.Configuration;
using XDeepServe.Server.Control;

namespace XDeepServe.Server.Tests.Control;

/// <summary>Who calls whom dead.</summary>
public sealed class SiloTests
{
    [Fact]
    public void NobodyCallsTheProcessDeadThatHoldsTheMembership()
    {
        IPEndPoint launcher = new(IPAddress.Loopback, 11111);
        Assert.Equal(2, Limit(new ServiceOptions { Worker = "launcher" }));
        Assert.Equal(int.MaxValue, Limit(new ServiceOptions { Worker = "decode-0", Primary = launcher }));
        Assert.Equal(2, Limit(new ServiceOptions { Worker = "decode-0", Redis = "127.0.0.1:6379" }));

        static int Limit(ServiceOptions options)
        {
            using IHost silo = XDeepServe.Server.Control.Silo.Build(options, new IPEndPoint(IPAddress.Loopback, 11112), null);
            return silo.Services.GetRequiredService<IOptions<ClusterMembershipOptions>>().Value.NumMissedProbesLimit;
        }
    }
}
