using XDeepServe.Kernels;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models.Tests.Llama;

/// <summary>Files that the converter wrote, run by llama.cpp and here: the same greedy tokens, near ties excepted.</summary>
public sealed class SameTokensTests : IDisposable
{
    // llama.cpp keeps its cache in half precision: logits differ by about this share of their range.
    private const float NearTie = 0.01f;
    private const int Length = 24;

    private readonly string path = Path.Combine(Directory.CreateTempSubdirectory("xds-").FullName, "model.gguf");

    public void Dispose() => Directory.Delete(Path.GetDirectoryName(path)!, recursive: true);

    [Theory]
    [InlineData("qwen3")]
    [InlineData("deepseek_v3")]
    public void Models_of_the_repository_say_the_same(string family) => Check(Places.Golden(family), ElementType.F32);

    [Theory]
    [InlineData("llama")]
    [InlineData("llama_tied")]
    [InlineData("mixtral")]
    [InlineData("qwen2")]
    [InlineData("qwen3_moe")]
    [InlineData("glm4_moe")]
    [InlineData("gpt2")]
    // Not Mistral: llama.cpp sees beyond the window. Not DeepSeek-V2 with groups of experts: its tokens differ from the reference's.
    public void Other_families_say_the_same(string family) => Check(Places.Golden(family), ElementType.F32);

    [Theory]
    [InlineData(ElementType.BF16)]
    [InlineData(ElementType.Q8_0)]
    [InlineData(ElementType.Q4_K)]
    public void The_model_with_a_tokenizer_says_the_same(ElementType type) => Check(Places.Shared("models", "nano-moe"), type);

    private void Check(string folder, ElementType type)
    {
        LlamaModel.Need();
        using (Checkpoint source = Checkpoint.Open(folder))
            GgufConverter.Convert(source, path, new ConversionOptions(type, "tiny"), TestContext.Current.CancellationToken);
        LlamaModel llama = new(path);
        using LoadedModel model = new(path, new CpuBackend(new CpuOptions(2, PinThreads: false)));
        int words = model.Model.Config.VocabularySize, compared = 0, all = 0;
        foreach (GoldenCase golden in GoldenCase.Read(folder).Take(4))
        {
            int[] theirs = llama.Greedy(golden.Prompt, Length, words);
            using Runner runner = model.CreateRunner();
            Sequence sequence = new(golden.Prompt);
            float[] logits = runner.Prefill(sequence)[^1];
            all += Length;
            for (int i = 0; i < Length; i++, compared++)
            {
                int best = Runner.Best(logits);
                if (best != theirs[i])
                {
                    float range = logits.Max() - logits.Min(), margin = (logits[best] - logits[theirs[i]]) / range;
                    Assert.True(margin < Tie(type), $"{folder}, token {i}: {best}, llama.cpp {theirs[i]}, {margin:P2} of the range apart");
                    break; // a near tie: from here on the texts differ
                }
                sequence.Tokens.Add(best);
                logits = runner.Step((sequence, 1))[0];
            }
        }
        Assert.True(compared * 2 >= all, $"only {compared} of {all} tokens were compared before near ties");
    }

    // Blocks are multiplied with inputs rounded to 8 bits there, 16 bits here; where weights are coarse, routers choose other experts.
    private static float Tie(ElementType type) => type switch { ElementType.Q8_0 => 3 * NearTie, ElementType.Q4_K => 10 * NearTie, _ => NearTie };
}
