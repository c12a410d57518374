using System.Buffers.Binary;
using System.Text;
using XDeepServe.Kernels;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models.Tests.Loading;

public sealed class CheckpointTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("xds-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Theory]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 8, "needs 8")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 8, "of 8 bytes")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-4,4]}}", 8, "of 8 bytes")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "shape")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,8]}}", 8, "shape")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, "dimensions")]
    [InlineData("{\"a\":{\"dtype\":\"I4\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "I4")]
    [InlineData("{\"a\":{\"dtype\":5,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "described")]
    [InlineData("{\"a\":7}", 8, "described")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, "overlap")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}", 16, "JSON")]
    [InlineData("{\"a\":{\"dtype\":", 8, "JSON")]
    [InlineData("[]", 8, "object")]
    public void Damaged_safetensors_are_refused_with_the_reason(string header, int data, string reason)
    {
        Write(header, header.Length, data);
        ModelLoadException refusal = Assert.Throws<ModelLoadException>(() => Checkpoint.Open(folder));
        Assert.Contains(reason, refusal.Message, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("model.safetensors", refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1000)]
    [InlineData(long.MaxValue)]
    [InlineData(-1)]
    public void A_header_that_is_not_there_is_refused(long length)
    {
        Write("{}", length, 0);
        Assert.Throws<ModelLoadException>(() => Checkpoint.Open(folder));
        File.WriteAllBytes(Path.Combine(folder, "model.safetensors"), [1, 2, 3]);
        Assert.Throws<ModelLoadException>(() => Checkpoint.Open(folder));
        File.WriteAllBytes(Path.Combine(folder, "model.safetensors"), []);
        Assert.Throws<ModelLoadException>(() => Checkpoint.Open(folder));
    }

    [Fact]
    public void A_truncated_model_and_a_missing_file_of_several_are_named()
    {
        string golden = Places.Golden("qwen3");
        byte[] whole = File.ReadAllBytes(Path.Combine(golden, "model.safetensors"));
        File.Copy(Path.Combine(golden, "config.json"), Path.Combine(folder, "config.json"));
        foreach (int length in new[] { 4, 100, whole.Length / 2, whole.Length - 1 })
        {
            File.WriteAllBytes(Path.Combine(folder, "model.safetensors"), whole[..length]);
            Assert.Throws<ModelLoadException>(() => Checkpoint.Open(folder));
        }
        File.Delete(Path.Combine(folder, "model.safetensors"));
        File.WriteAllText(Path.Combine(folder, "model.safetensors.index.json"), "{\"weight_map\":{\"a\":\"model-1.safetensors\",\"b\":\"../b\"}}");
        Assert.Contains("'b'", Assert.Throws<ModelLoadException>(() => Checkpoint.Open(folder)).Message, StringComparison.Ordinal);
        File.WriteAllText(Path.Combine(folder, "model.safetensors.index.json"), "{\"weight_map\":{\"a\":\"model-1.safetensors\"}}");
        Assert.Contains("model-1.safetensors", Assert.Throws<ModelLoadException>(() => Checkpoint.Open(folder)).Message, StringComparison.Ordinal);
        File.Delete(Path.Combine(folder, "config.json"));
        Assert.Contains("config.json", Assert.Throws<ModelLoadException>(() => Checkpoint.Open(folder)).Message, StringComparison.Ordinal);
        Assert.Throws<ModelLoadException>(() => Checkpoint.Open(Path.Combine(folder, "nowhere")));
    }

    [Theory]
    [InlineData("qwen3", ElementType.BF16)]
    [InlineData("qwen3", ElementType.F32)]
    [InlineData("qwen3", ElementType.F16)]
    [InlineData("deepseek_v3", ElementType.BF16)]
    [InlineData("deepseek_v3", ElementType.F32)]
    public void A_model_written_as_GGUF_reads_back_as_the_same_model(string family, ElementType type)
    {
        string path = Path.Combine(folder, "model.gguf");
        using Checkpoint source = Checkpoint.Open(Places.Golden(family));
        ConversionReport report = GgufConverter.Convert(source, path, new ConversionOptions(type, "tiny"), TestContext.Current.CancellationToken);
        Assert.False(File.Exists(path + ".part"));
        using Checkpoint written = Checkpoint.Open(path);
        Assert.Equal("gguf", written.Format);
        ModelConfig expected = ModelConfig.Read(source.Config), actual = ModelConfig.Read(written.Config);
        Assert.Equal(expected.Experts?.DenseLayers, actual.Experts?.DenseLayers);
        ExpertConfig? experts = actual.Experts is null ? null : actual.Experts with { DenseLayers = expected.Experts!.DenseLayers };
        Assert.Equal(
            expected with { EosIds = [], BosId = null, TiedEmbeddings = null, DraftLayers = 0 },
            actual with { EosIds = [], BosId = null, TiedEmbeddings = null, Experts = experts });
        Assert.InRange(report.LargestError, 0, type == ElementType.F16 ? 1e-3 : 0);
        foreach (string name in source.Names)
        {
            Assert.True(source.TryGet(name, out StoredTensor? left));
            Assert.True(written.TryGet(name, out StoredTensor? right), name);
            Assert.Equal(left.Shape, right.Shape);
            float[] a = new float[left.Columns], b = new float[left.Columns];
            for (int row = 0; row < left.Rows; row++)
            {
                left.Read(row, a);
                right.Read(row, b);
                for (int i = 0; i < a.Length; i++)
                    Assert.Equal(a[i], b[i], type == ElementType.F16 ? 1e-3f : 0);
            }
        }
        GgufConverter.Convert(written, path + "2", new ConversionOptions(type, "again"), TestContext.Current.CancellationToken); // from GGUF to GGUF
        Assert.Equal(new FileInfo(path).Length, new FileInfo(path + "2").Length, 64.0);
        foreach (GoldenCase golden in GoldenCase.Read(Places.Golden(family)))
        {
            using LoadedModel model = new(path, new CpuBackend(new CpuOptions(2)));
            golden.Check(model.CreateRunner());
        }
    }

    [Theory]
    [InlineData("llama")]
    [InlineData("llama_tied")]
    [InlineData("mistral")]
    [InlineData("mixtral")]
    [InlineData("qwen2")]
    [InlineData("qwen3_moe")]
    [InlineData("deepseek_v2")]
    [InlineData("deepseek_v2_lite")]
    [InlineData("glm4_moe")]
    [InlineData("gpt2")]
    public void Every_family_written_as_GGUF_follows_the_reference(string family)
    {
        string golden = Places.Golden(family), path = Path.Combine(folder, "model.gguf");
        using (Checkpoint source = Checkpoint.Open(golden))
            GgufConverter.Convert(source, path, new ConversionOptions(ElementType.F32, "tiny"), TestContext.Current.CancellationToken);
        using LoadedModel model = new(path, new CpuBackend(new CpuOptions(2, PinThreads: false)));
        foreach (GoldenCase reference in GoldenCase.Read(golden))
        {
            using Runner runner = model.CreateRunner();
            reference.Check(runner);
        }
    }

    [Theory]
    [InlineData("qwen3", ElementType.F8, 0.07)]
    [InlineData("qwen3", ElementType.I8, 0.03)]
    [InlineData("qwen3", ElementType.BF16, 0.001)]
    [InlineData("deepseek_v3", ElementType.F8, 0.07)]
    [InlineData("deepseek_v3", ElementType.I8, 0.03)]
    [InlineData("mixtral", ElementType.F8, 0.07, "model.layers.1.block_sparse_moe.experts.7.w2.weight")]
    [InlineData("mixtral", ElementType.I8, 0.03, "model.layers.1.block_sparse_moe.experts.7.w2.weight")]
    [InlineData("gpt2", ElementType.F8, 0.07)]
    [InlineData("gpt2", ElementType.I8, 0.03)]
    public void A_model_written_as_safetensors_stays_near(string family, ElementType type, float tolerance, string converted = "model.layers.0.self_attn.o_proj.weight")
    {
        string path = Path.Combine(folder, "written");
        using Checkpoint source = Checkpoint.Open(Places.Golden(family));
        ConversionReport report = SafetensorsConverter.Convert(source, Places.Golden(family), path, false, new ConversionOptions(type, "tiny"), TestContext.Current.CancellationToken);
        Assert.False(Directory.Exists(path + ".part"));
        Assert.InRange(report.RelativeError, 0, tolerance);
        using LoadedModel before = new(source, new CpuBackend(new CpuOptions(2, PinThreads: false))), after = new(path, new CpuBackend(new CpuOptions(2, PinThreads: false)));
        using Checkpoint written = Checkpoint.Open(path);
        Assert.True(written.TryGet(converted, out StoredTensor? projection));
        Assert.Equal(type, projection.Type);
        using Runner first = before.CreateRunner(), second = after.CreateRunner();
        float[] expected = first.Prefill(new Sequence([1, 2, 3, 4, 5, 6]))[^1], actual = second.Prefill(new Sequence([1, 2, 3, 4, 5, 6]))[^1];
        float range = expected.Max() - expected.Min();
        double difference = Math.Sqrt(expected.Zip(actual).Average(pair => Math.Pow(pair.First - pair.Second, 2))) / range;
        Assert.InRange(difference, 0, tolerance);
        Assert.Throws<ModelLoadException>(() => SafetensorsConverter.Convert(source, path, path, false, new ConversionOptions(type, "tiny"), TestContext.Current.CancellationToken));
    }

    [Fact]
    public void Values_may_lie_on_odd_addresses()
    {
        string golden = Places.Golden("qwen3");
        foreach (string name in (string[])["config.json", "generation_config.json"])
            File.Copy(Path.Combine(golden, name), Path.Combine(folder, name));
        byte[] file = File.ReadAllBytes(Path.Combine(golden, "model.safetensors"));
        long header = BitConverter.ToInt64(file);
        int data = 8 + (int)header;
        File.WriteAllBytes(Path.Combine(folder, "model.safetensors"), [.. BitConverter.GetBytes(header + 1), .. file.AsSpan(8, (int)header), (byte)' ', .. file.AsSpan(data)]);
        using LoadedModel model = new(folder, new CpuBackend(new CpuOptions(2, PinThreads: false)));
        foreach (GoldenCase reference in GoldenCase.Read(golden))
        {
            using Runner runner = model.CreateRunner();
            reference.Check(runner);
        }
    }

    [Fact]
    public void A_conversion_that_is_stopped_leaves_nothing_behind()
    {
        using Checkpoint source = Checkpoint.Open(Places.Golden("qwen3"));
        using CancellationTokenSource stop = new();
        stop.Cancel();
        Assert.Throws<OperationCanceledException>(() => GgufConverter.Convert(source, Path.Combine(folder, "a.gguf"), new ConversionOptions(ElementType.Q4_0, "tiny"), stop.Token));
        Assert.Throws<OperationCanceledException>(() => SafetensorsConverter.Convert(source, folder, Path.Combine(folder, "b"), false, new ConversionOptions(ElementType.F8, "tiny"), stop.Token));
        Assert.Throws<ModelLoadException>(() => GgufConverter.Convert(source, Path.Combine(folder, "c.gguf"), new ConversionOptions(ElementType.I8, "tiny"), TestContext.Current.CancellationToken));
        Assert.Throws<ModelLoadException>(() => SafetensorsConverter.Convert(source, folder, Path.Combine(folder, "d"), false, new ConversionOptions(ElementType.Q8_0, "tiny"), TestContext.Current.CancellationToken));
        Assert.Empty(Directory.EnumerateFileSystemEntries(folder));
    }

    [Fact]
    public void Eight_bit_GGUF_stays_near_and_says_what_it_could_not_quantise()
    {
        string path = Path.Combine(folder, "model.gguf");
        using Checkpoint source = Checkpoint.Open(Places.Golden("deepseek_v3"));
        ConversionReport report = GgufConverter.Convert(source, path, new ConversionOptions(ElementType.Q8_0, "tiny"), TestContext.Current.CancellationToken);
        Assert.InRange(report.LargestError, 1e-6, 0.6 / 127);
        Assert.All(report.Notes, entry => Assert.Contains("no whole blocks", entry, StringComparison.Ordinal));
        using Checkpoint written = Checkpoint.Open(path);
        Assert.True(written.TryGet("model.layers.1.mlp.experts.3.up_proj.weight", out StoredTensor? expert));
        Assert.Equal(ElementType.Q8_0, expert.Type);
    }

    [Fact]
    public void Damaged_GGUF_is_refused_wherever_it_is_cut_or_changed()
    {
        string path = Path.Combine(folder, "model.gguf");
        using (Checkpoint source = Checkpoint.Open(Places.Golden("qwen3")))
            GgufConverter.Convert(source, path, new ConversionOptions(ElementType.BF16, "tiny"), TestContext.Current.CancellationToken);
        byte[] whole = File.ReadAllBytes(path);
        Random random = new(1);
        for (int i = 0; i < 60; i++)
        {
            File.WriteAllBytes(path, whole[..(i < 30 ? i : random.Next(whole.Length))]);
            Assert.Throws<ModelLoadException>(() => Checkpoint.Open(path));
        }
        int refused = 0;
        for (int i = 0; i < 400; i++)
        {
            byte[] changed = [.. whole];
            changed[random.Next(2000)] = (byte)random.Next(256);
            File.WriteAllBytes(path, changed);
            try
            {
                using Checkpoint opened = Checkpoint.Open(path);
                foreach (string name in opened.Names)
                {
                    opened.TryGet(name, out StoredTensor? tensor);
                    tensor!.Read(tensor.Rows - 1, new float[tensor.Columns]);
                }
            }
            catch (ModelLoadException)
            {
                refused++;
            }
        }
        Assert.InRange(refused, 50, 400);
    }

    [Fact]
    public void Random_weights_serve_a_bare_config()
    {
        File.Copy(Path.Combine(Places.Golden("deepseek_v3"), "config.json"), Path.Combine(folder, "config.json"));
        Assert.Contains("dummy", Assert.Throws<ModelLoadException>(() => Checkpoint.Open(folder)).Message, StringComparison.Ordinal);
        int[] tokens = Run(), again = Run();
        Assert.Equal(tokens, again);

        int[] Run()
        {
            using LoadedModel model = new(Checkpoint.Open(folder, LoadFormat.Dummy), new CpuBackend(new CpuOptions(2)), new ModelOptions(Quantization: ElementType.Q8_0));
            return model.CreateRunner().Greedy(new Sequence([1, 2, 3]), 8);
        }
    }

    private void Write(string header, long length, int data)
    {
        File.WriteAllText(Path.Combine(folder, "config.json"), "{}");
        byte[] prefix = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(prefix, length);
        File.WriteAllBytes(Path.Combine(folder, "model.safetensors"), [.. prefix, .. Encoding.UTF8.GetBytes(header), .. new byte[data]]);
    }
}
