using XDeepServe.Xccl.Regions;

namespace XDeepServe.Xccl.Tests;

public sealed class RegionTests
{
    private static readonly RegionGeometry Geometry = TestGroup.Geometry(2);

    [Fact]
    public void Only_the_owners_account_may_touch_a_region()
    {
        string name = TestGroup.Name();
        using SharedRegion region = SharedRegion.Create(name, 0, Geometry, sleeps: false);
        string file = Assert.Single(TestGroup.Files(name));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
    }

    [Fact]
    public void A_region_goes_with_its_owner()
    {
        string name = TestGroup.Name();
        SharedRegion.Create(name, 0, Geometry, sleeps: false).Dispose();
        Assert.Empty(TestGroup.Files(name));
        Assert.Null(SharedRegion.TryOpen(name, 0, Geometry));
    }

    [Fact]
    public void A_living_owner_keeps_its_rank()
    {
        string name = TestGroup.Name();
        using SharedRegion region = SharedRegion.Create(name, 1, Geometry, sleeps: false);
        IOException refusal = Assert.Throws<IOException>(() => SharedRegion.Create(name, 1, Geometry, sleeps: false));
        Assert.Contains("alive", refusal.Message, StringComparison.Ordinal);
        Assert.Single(TestGroup.Files(name));
    }

    [Fact]
    public unsafe void A_dead_owners_region_is_neither_opened_nor_in_the_way()
    {
        string name = TestGroup.Name();
        using SharedRegion first = SharedRegion.Create(name, 0, Geometry, sleeps: false);
        ulong epoch = first.Epoch;
        first.Header.OwnerStart++; // as if the id had been another process's before
        Assert.Null(SharedRegion.TryOpen(name, 0, Geometry));
        using SharedRegion second = SharedRegion.Create(name, 0, Geometry, sleeps: false);
        Assert.True(second.Epoch > epoch);
        Assert.Equal(second.Epoch, SharedRegion.TryOpen(name, 0, Geometry)!.Epoch);
        Assert.Single(TestGroup.Files(name));
    }

    [Fact]
    public unsafe void Regions_of_dead_owners_are_swept()
    {
        string name = TestGroup.Name(), other = TestGroup.Name();
        using SharedRegion dead = SharedRegion.Create(name, 0, Geometry, sleeps: false);
        dead.Header.OwnerStart++;
        SharedRegion.Create(other, 0, Geometry, sleeps: false).Dispose();
        Assert.Empty(TestGroup.Files(name));
    }

    [Fact]
    public void Peers_of_another_geometry_or_version_are_refused()
    {
        string name = TestGroup.Name();
        using SharedRegion region = SharedRegion.Create(name, 0, Geometry, sleeps: false);
        Assert.Contains("geometry", Assert.Throws<IOException>(() => SharedRegion.TryOpen(name, 0, Geometry with { Slots = 8 })).Message, StringComparison.Ordinal);
        region.Header.Version++;
        Assert.Contains("version", Assert.Throws<IOException>(() => SharedRegion.TryOpen(name, 0, Geometry)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_open_to_others_is_not_trusted()
    {
        string name = TestGroup.Name(), path = $"/dev/shm/xccl-{name}-0";
        File.WriteAllBytes(path, new byte[8192]);
        try
        {
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.OtherWrite);
            Assert.Throws<IOException>(() => SharedRegion.TryOpen(name, 0, Geometry));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void Too_large_a_region_is_refused_before_it_is_made()
    {
        string name = TestGroup.Name();
        Assert.Contains("does not fit", Assert.Throws<IOException>(() => SharedRegion.Create(name, 0, Geometry with { AppBytes = 1L << 50 }, sleeps: false)).Message, StringComparison.Ordinal);
        Assert.Empty(TestGroup.Files(name));
    }

    [Theory]
    [InlineData("a/b")]
    [InlineData("")]
    [InlineData("../x")]
    public void Names_cannot_leave_the_folder(string name) =>
        Assert.Throws<ArgumentException>(() => SharedRegion.Create(name, 0, Geometry, sleeps: false));

    [Fact]
    public void A_missing_rank_is_named()
    {
        string name = TestGroup.Name();
        XcclTimeoutException missing = Assert.Throws<XcclTimeoutException>(() =>
            Communicator.Join(TestGroup.Options(name, 0, Geometry) with { JoinTimeout = TimeSpan.FromMilliseconds(50) }));
        Assert.Equal(1, missing.PeerRank);
        Assert.Contains("Rank 1 did not start", missing.Message, StringComparison.Ordinal);
        Assert.Empty(TestGroup.Files(name));
    }
}
