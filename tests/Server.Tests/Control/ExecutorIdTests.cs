using System.Net;
using Orleans.Runtime;
using XDeepServe.Server.Control;

namespace XDeepServe.Server.Tests.Control;

/// <summary>A Task Executor's name says where it is.</summary>
public sealed class ExecutorIdTests
{
    [Theory]
    [InlineData("prefill-0", "127.0.0.1", 1, 0)]
    [InlineData("d", "255.254.3.0", 65535, int.MaxValue)]
    [InlineData("a.name/of-a-host_12345", "10.0.0.7", 30000, 154688494)]
    public void HoldsItsSilo(string worker, string address, int port, int generation)
    {
        SiloAddress silo = SiloAddress.New(new IPEndPoint(IPAddress.Parse(address), port), generation);
        string id = ExecutorId.Of(worker, silo);
        Assert.Equal(silo, ExecutorId.SiloOf(id));
        Assert.Matches("^[A-Za-z0-9_]{1,28}$", id);
    }

    [Theory]
    [InlineData("")]
    [InlineData("prefill")]
    [InlineData("0123456789abcdefghij")]
    [InlineData("p_0123456789abcdefghijk")]
    public void OtherNamesAreRefused(string id) => Assert.Throws<ArgumentException>(() => ExecutorId.SiloOf(id));

    [Fact]
    public void OtherNetworksAreRefused() =>
        Assert.Contains("--advertise", Assert.Throws<ArgumentException>(() => ExecutorId.Of("a", SiloAddress.New(new IPEndPoint(IPAddress.IPv6Loopback, 5), 1))).Message, StringComparison.Ordinal);
}
