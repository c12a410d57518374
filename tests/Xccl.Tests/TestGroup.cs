using System.Runtime.ExceptionServices;
using XDeepServe.Xccl.Regions;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Xccl.Tests;

/// <summary>A group whose ranks are threads of this process, each with mappings of its own.</summary>
internal static class TestGroup
{
    public static RegionGeometry Geometry(int ranks, params long[] channels) =>
        new() { Ranks = ranks, Slots = 4, SlotBytes = 256, RecordBytes = 128, AppBytes = 1 << 16, Channels = channels };

    public static string Name() => "t" + Guid.NewGuid().ToString("N");

    public static GroupOptions Options(string name, int rank, RegionGeometry geometry, WaitStrategy strategy = WaitStrategy.Block) => new()
    {
        Name = name,
        Rank = rank,
        Geometry = geometry,
        Strategy = strategy,
        Timeout = TimeSpan.FromSeconds(60),
        JoinTimeout = TimeSpan.FromSeconds(60),
    };

    /// <summary>Runs a body on every rank; the first failure of any is thrown.</summary>
    public static void Run(RegionGeometry geometry, Action<Communicator> body, WaitStrategy strategy = WaitStrategy.Block)
    {
        string name = Name();
        Exception? failure = null;
        Thread[] threads = [.. Enumerable.Range(0, geometry.Ranks).Select(rank => new Thread(() =>
        {
            try
            {
                using Communicator group = Communicator.Join(Options(name, rank, geometry, strategy));
                body(group);
                group.Collectives.Barrier();
            }
            catch (Exception caught)
            {
                Interlocked.CompareExchange(ref failure, caught, null);
            }
        }))];
        foreach (Thread thread in threads)
            thread.Start();
        foreach (Thread thread in threads)
            Assert.True(thread.Join(TimeSpan.FromMinutes(2)), "a rank hangs");
        if (failure is not null)
            ExceptionDispatchInfo.Throw(failure);
        Assert.Empty(Files(name));
    }

    public static IEnumerable<string> Files(string name) => Directory.EnumerateFiles("/dev/shm", $"xccl-{name}-*");
}
