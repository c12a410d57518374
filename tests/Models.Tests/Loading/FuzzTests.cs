using System.Globalization;
using System.Text;
using XDeepServe.Kernels;
using XDeepServe.Models.Loading;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Tests.Loading;

/// <summary>
/// Damaged files end in clean errors and take little memory. A few cases run every time; set XDS_FUZZ_CASES=100000 for the full
/// number (about a minute a reader).
/// </summary>
public sealed class FuzzTests : IDisposable
{
    private const long MostBytes = 32 << 20; // allocated for a file of a few kilobytes
    private readonly string folder = Directory.CreateTempSubdirectory("xds-").FullName;

    private static int Cases => int.TryParse(Environment.GetEnvironmentVariable("XDS_FUZZ_CASES"), CultureInfo.InvariantCulture, out int given) ? given : 1500;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void Damaged_safetensors_files_end_in_clean_errors()
    {
        using MemoryCheckpoint source = TinyModel.Checkpoint(TinyModel.Qwen3Config());
        string written = Path.Combine(folder, "model");
        SafetensorsConverter.Convert(source, folder, written, false, new ConversionOptions(ElementType.F8, "tiny"), TestContext.Current.CancellationToken);
        string file = Path.Combine(written, "model.safetensors");
        byte[] valid = File.ReadAllBytes(file);
        int header = 8 + (int)BitConverter.ToInt64(valid);
        Run(new ByteMutator(valid, header, 1), file, written);
    }

    [Fact]
    public void Damaged_GGUF_files_end_in_clean_errors()
    {
        string file = Path.Combine(folder, "model.gguf");
        using (MemoryCheckpoint source = TinyModel.Checkpoint(TinyModel.DeepSeekConfig()))
            GgufConverter.Convert(source, file, new ConversionOptions(ElementType.Q4_0, "tiny"), TestContext.Current.CancellationToken);
        byte[] valid = File.ReadAllBytes(file);
        int header = Encoding.Latin1.GetString(valid).LastIndexOf("blk.", StringComparison.Ordinal) + 64;
        Run(new ByteMutator(valid, header, 2), file, file);
    }

    [Fact]
    public void Deep_and_repeated_JSON_is_refused()
    {
        File.WriteAllText(Path.Combine(folder, "config.json"), "{}");
        foreach (string header in new[] { new string('[', 100_000), string.Concat(Enumerable.Repeat("{\"a\":", 50_000)), "{\"a\":{},\"a\":{}}", "{\"__metadata__\":" + new string('[', 5000) + "}" })
        {
            byte[] text = Encoding.UTF8.GetBytes(header);
            File.WriteAllBytes(Path.Combine(folder, "model.safetensors"), [.. BitConverter.GetBytes((long)text.Length), .. text]);
            Assert.Throws<ModelLoadException>(() => Checkpoint.Open(folder));
        }
    }

    private static void Run(ByteMutator mutator, string file, string model)
    {
        int refused = 0, cases = Cases;
        for (int i = 0; i < cases; i++)
        {
            byte[] damaged = mutator.Next();
            File.WriteAllBytes(file, damaged);
            long before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                Open(model);
            }
            catch (Exception clean) when (clean is ModelLoadException or TokenizerException)
            {
                refused++;
            }
            catch (Exception defect)
            {
                string kept = Path.Combine(Path.GetTempPath(), $"xds-fuzz-{Path.GetFileName(file)}");
                File.WriteAllBytes(kept, damaged);
                Assert.Fail($"case {i} (kept as {kept}): {defect}");
            }
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, MostBytes);
        }
        Assert.InRange(refused, cases / 4, cases);
    }

    private static void Open(string path)
    {
        using Checkpoint opened = Checkpoint.Open(path);
        _ = ModelConfig.Read(opened.Config, opened.GenerationConfig);
        _ = opened.LoadTokenizer();
        foreach (string name in opened.Names)
            if (opened.TryGet(name, out StoredTensor? tensor))
                tensor.Read(tensor.Rows - 1, new float[tensor.Columns]);
    }
}
