using XDeepServe.Kernels.Cuda;

namespace XDeepServe.Kernels.Tests.Cuda;

/// <summary>The folder of compiled kernels; no GPU is needed.</summary>
public sealed class KernelCacheTests : IDisposable
{
    private readonly string root = Directory.CreateTempSubdirectory("xds-cache-").FullName;
    private readonly List<string> said = [];

    [Fact]
    public void What_was_kept_is_found_by_text_and_architecture_alone()
    {
        string folder = Path.Combine(root, "new", "folder");
        KernelCache cache = new(folder, said.Add);
        Assert.Null(cache.Find("Rows.cu", "text", "sm_90a"));
        cache.Keep("Rows.cu", "text", "sm_90a", [1, 2, 3]);
        Assert.Equal([1, 2, 3], new KernelCache(folder, said.Add).Find("Rows.cu", "text", "sm_90a")!);
        Assert.Null(cache.Find("Rows.cu", "text", "sm_80"));
        Assert.Null(cache.Find("Rows.cu", "other text", "sm_90a"));
        Assert.Single(Directory.GetFiles(folder));
        Assert.Empty(said);
    }

    [Fact]
    public void A_folder_that_cannot_be_written_is_told_once_and_the_start_goes_on()
    {
        string file = Path.Combine(root, "file");
        File.WriteAllText(file, "");
        string folder = Path.Combine(file, "kernels"); // inside a file there is no folder
        KernelCache cache = new(folder, said.Add);
        Assert.Null(cache.Find("Rows.cu", "text", "sm_90a"));
        cache.Keep("Rows.cu", "text", "sm_90a", [1]);
        cache.Keep("Rows.cu", "other", "sm_90a", [1]);
        Assert.Contains(folder, Assert.Single(said), StringComparison.Ordinal);
        Assert.Null(cache.Find("Rows.cu", "text", "sm_90a"));
    }

    [Fact]
    public async Task Many_that_keep_the_same_at_once_leave_one_whole_file()
    {
        byte[] image = new byte[1 << 20];
        new Random(1).NextBytes(image);
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(() =>
        {
            KernelCache cache = new(root, said.Add);
            for (int i = 0; i < 10; i++)
            {
                cache.Keep("Rows.cu", "text", "sm_90a", image);
                Assert.Equal(image, cache.Find("Rows.cu", "text", "sm_90a")!);
            }
        })));
        Assert.Single(Directory.GetFiles(root));
        Assert.Empty(said);
    }

    public void Dispose() => Directory.Delete(root, recursive: true);
}
