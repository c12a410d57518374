using CsCheck;
using XDeepServe.FlowServe.Tiers;

namespace XDeepServe.FlowServe.Tests;

public sealed class DiskTierTests : IDisposable
{
    private static readonly DiskFormat s_format = new(11, 13, BlockSize: 4, BlockBytes: 1000);
    private readonly string folder = Directory.CreateTempSubdirectory("xds-disk-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void A_file_cut_or_changed_anywhere_gives_only_whole_blocks()
    {
        string path = Path.Combine(folder, s_format.Prefix + "a" + DiskFormat.Extension);
        using (DiskSegment written = DiskSegment.Create(path, s_format, 3))
            for (int i = 0; i < 3; i++)
                written.Add((ulong)i, (ulong)i + 1, Tokens(i), Content(i));
        byte[] whole = File.ReadAllBytes(path);
        Gen.Select(Gen.Int[0, whole.Length - 1], Gen.Bool, Gen.Byte[1, 255]).Sample((at, cut, change) =>
        {
            byte[] bytes = cut ? whole[..at] : [.. whole];
            if (!cut)
                bytes[at] ^= change;
            string damaged = Path.Combine(folder, Guid.NewGuid() + ".bad");
            File.WriteAllBytes(damaged, bytes);
            using DiskSegment? segment = DiskSegment.Open(damaged, s_format);
            int found = segment?.Refresh() ?? 0, read = 0;
            byte[] content = new byte[s_format.BlockBytes];
            for (int i = 0; i < found; i++)
            {
                if (!segment!.TryRead(i, (ulong)i, (ulong)i + 1, Tokens(i), content))
                    continue;
                Assert.Equal(Content(i), content);
                read++;
            }
            // What no block, no entry and no header covers is padding: changing it changes nothing.
            bool padding = !cut && at >= DiskSegment.HeaderBytes + 3 * s_format.EntryBytes && at < whole.Length - 3 * s_format.BlockBytes;
            Assert.InRange(read, padding ? 3 : 0, padding ? 3 : 2);
            File.Delete(damaged);
        }, iter: 400, threads: 1);
    }

    [Fact]
    public void A_block_is_read_only_for_its_own_tokens_and_what_stands_before_them()
    {
        using DiskSegment segment = DiskSegment.Create(Path.Combine(folder, "b"), s_format, 2);
        segment.Add(5, 6, Tokens(0), Content(0));
        byte[] content = new byte[s_format.BlockBytes];
        Assert.True(segment.TryRead(0, 5, 6, Tokens(0), content));
        Assert.False(segment.TryRead(0, 4, 6, Tokens(0), content));
        Assert.False(segment.TryRead(0, 5, 7, Tokens(0), content));
        Assert.False(segment.TryRead(0, 5, 6, Tokens(1), content));
        Assert.False(segment.TryRead(1, 5, 6, Tokens(0), content));
    }

    [Fact]
    public void Files_of_another_format_are_not_opened()
    {
        string path = Path.Combine(folder, "c");
        DiskSegment.Create(path, s_format, 2).Dispose();
        Assert.NotNull(DiskSegment.Open(path, s_format));
        foreach (DiskFormat other in new[] { s_format with { Model = 1 }, s_format with { Layout = 1 }, s_format with { BlockSize = 8 }, s_format with { BlockBytes = 1001 } })
        {
            Assert.Null(DiskSegment.Open(path, other));
            Assert.NotEqual(s_format.Prefix, other.Prefix);
        }
    }

    [Fact]
    public void Two_tiers_in_one_folder_keep_its_bound_and_find_what_is_left_after_a_restart()
    {
        const long limit = 60_000;
        string other = Path.Combine(folder, "0123456789abcdef-other" + DiskFormat.Extension), foreign = Path.Combine(folder, "notes.txt");
        File.WriteAllBytes(other, new byte[9_000]); // of a model that is served no more
        File.SetLastWriteTimeUtc(other, DateTime.UnixEpoch);
        File.WriteAllText(foreign, "not a cache file");
        using (Writer first = new(folder, limit), second = new(folder, limit))
        {
            for (int i = 0; i < 150; i++)
            {
                (i % 2 == 0 ? first : second).Write(i);
                if (i % 10 == 9)
                {
                    first.Wait();
                    second.Wait();
                    Assert.InRange(Used(), 1, limit);
                }
            }
        }
        Assert.InRange(Used(), 30_000, limit);
        Assert.False(File.Exists(other));
        Assert.True(File.Exists(foreign));
        using DiskTier again = new(folder, limit, s_format);
        Assert.True(again.WaitForScan(TimeSpan.FromSeconds(30)));
        int found = Enumerable.Range(0, 150).Count(i => again.Contains((ulong)i + 1));
        Assert.Equal(again.Count, found);
        Assert.InRange(found, 20, 59);
        Assert.All(Enumerable.Range(142, 8), i => Assert.True(again.Contains((ulong)i + 1))); // the newest are there
    }

    [Fact]
    public void A_folder_named_from_where_the_process_stands_keeps_no_more_than_its_bound()
    {
        using Writer writer = new(Path.GetRelativePath(Environment.CurrentDirectory, folder), 60_000);
        for (int i = 0; i < 150; i++)
        {
            writer.Write(i);
            writer.Wait();
        }
        Assert.InRange(writer.Count, 20, 59); // the others' files were removed, and closed
    }

    [Fact]
    public void A_block_beyond_the_queue_is_refused_and_too_little_room_is_an_error_at_the_start()
    {
        Assert.Throws<ArgumentException>(() => new DiskTier(folder, 2_000, s_format));
        using Writer writer = new(folder, 60_000);
        writer.Stuck.Wait(TestContext.Current.CancellationToken);
        int accepted = 0;
        while (accepted < 2000 && writer.Write(accepted))
            accepted++;
        writer.Stuck.Release();
        Assert.InRange(accepted, 256, 258);
        writer.Wait();
    }

    private static int[] Tokens(int i) => [i, i + 1, 3 * i, 77];

    private static byte[] Content(int i)
    {
        byte[] content = new byte[s_format.BlockBytes];
        new Random(i).NextBytes(content);
        return content;
    }

    private long Used() => Directory.GetFiles(folder, "*" + DiskFormat.Extension).Sum(path => new FileInfo(path).Length);

    /// <summary>A host tier of one process, whose slots are written at once.</summary>
    private sealed class Writer : IDiskClient, IDisposable
    {
        private readonly DiskTier disk;
        private int waiting;

        public Writer(string folder, long limit) => disk = new DiskTier(folder, limit, s_format, Assert.Fail);

        public HostTier Host { get; } = new(3_000_000, s_format.BlockBytes, s_format.BlockSize);

        public int Count => disk.Count;

        public SemaphoreSlim Stuck { get; } = new(1);

        public bool Write(int i)
        {
            Assert.True(Host.TryTake(out int slot));
            Content(i).CopyTo(Host.Bytes(slot));
            Assert.True(Host.Keep(slot, (ulong)i, (ulong)i + 1, Tokens(i)));
            Interlocked.Increment(ref waiting);
            bool accepted = disk.TryWrite(this, slot);
            if (!accepted)
                Interlocked.Decrement(ref waiting);
            return accepted;
        }

        public void Written(int slot, bool done)
        {
            Stuck.Wait();
            Stuck.Release();
            Assert.True(done);
            Interlocked.Decrement(ref waiting);
        }

        public void Wait() => Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref waiting) == 0, TimeSpan.FromSeconds(30)));

        public void Dispose()
        {
            Wait();
            disk.Dispose();
            Stuck.Dispose();
        }
    }
}
