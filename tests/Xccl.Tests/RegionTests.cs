using System.Diagnostics;
using XDeepServe.Xccl.Regions;
using XDeepServe.Xccl.Tokens;

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

    [Fact]
    public void All_memory_of_a_region_is_there_from_the_start()
    {
        string name = TestGroup.Name();
        using SharedRegion region = SharedRegion.Create(name, 0, Geometry with { AppBytes = 5 << 20 }, sleeps: false);
        using FileStream file = new(Assert.Single(TestGroup.Files(name)), FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        Assert.Equal(region.Layout.TotalBytes, file.Length);
        Assert.InRange(FileFacts.Of(file).Bytes, file.Length, file.Length + (2 << 20)); // a hole would be memory that may be missing later
    }

    [Fact]
    public void A_region_of_another_container_is_neither_joined_nor_removed()
    {
        string name = TestGroup.Name(), other = TestGroup.Name();
        using SharedRegion region = SharedRegion.Create(name, 0, Geometry, sleeps: false);
        region.Header.OwnerId = int.MaxValue; // nobody has it here
        region.Header.OwnerSpace++;
        Assert.Contains("another process id namespace", Assert.Throws<IOException>(() => SharedRegion.TryOpen(name, 0, Geometry)).Message, StringComparison.Ordinal);
        SharedRegion.Create(other, 0, Geometry, sleeps: false).Dispose(); // which sweeps
        Assert.Single(TestGroup.Files(name));
        Assert.Contains("container", Assert.Throws<IOException>(() => SharedRegion.Create(name, 0, Geometry, sleeps: false)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_a_rank_left_that_died_while_it_made_its_region_is_swept()
    {
        ProcessIdentity own = ProcessIdentity.Own();
        string name = TestGroup.Name(), other = TestGroup.Name();
        string alive = $"/dev/shm/xccl-{name}-0.{own.Id}.{own.Start}.{own.Space}.a", reused = $"/dev/shm/xccl-{name}-0.{own.Id}.{own.Start + 1}.{own.Space}.b";
        File.WriteAllBytes(alive, [1]);
        File.WriteAllBytes(reused, [1]);
        SharedRegion.Create(other, 0, Geometry, sleeps: false).Dispose();
        Assert.Equal([alive], TestGroup.Files(name));
        File.Delete(alive);
    }

    [Fact]
    public void A_region_of_another_account_is_not_trusted_even_by_root()
    {
        Assert.SkipUnless(FileFacts.OwnAccount == 0, "Only root can give a file away.");
        string name = TestGroup.Name(), path = $"/dev/shm/xccl-{name}-0";
        using SharedRegion region = SharedRegion.Create(name, 0, Geometry, sleeps: false);
        using (Process change = Process.Start("chown", ["12345", path]))
            change.WaitForExit();
        Assert.Contains("another account", Assert.Throws<IOException>(() => SharedRegion.TryOpen(name, 0, Geometry)).Message, StringComparison.Ordinal);
        Assert.Contains("another account", Assert.Throws<IOException>(() => SharedRegion.Create(name, 0, Geometry, sleeps: false)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Sizes_that_overflow_are_refused()
    {
        foreach (RegionGeometry geometry in (RegionGeometry[])
            [
                Geometry with { AppBytes = long.MaxValue }, Geometry with { Channels = [long.MaxValue / 64 * 64] }, Geometry with { Channels = [1L << 54, 1L << 54] },
                Geometry with { Ranks = 256, Lanes = 64, Slots = 1 << 16, SlotBytes = 1 << 30 },
            ])
            Assert.Throws<ArgumentException>(() => new RegionLayout(geometry));
        TokenShape shape = new() { MaxTokens = 8, Hidden = 8, TopK = 2 };
        foreach (TokenShape large in (TokenShape[])[shape with { Hidden = int.MaxValue }, shape with { TopK = 1 << 20 }, shape with { MaxTokens = int.MaxValue }])
            Assert.Throws<ArgumentException>(() => AllToAll.Channels(large));
        Assert.Throws<ArgumentException>(() => new Topology(0, 1, 1, true).Channels(shape));
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
