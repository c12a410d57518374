using XDeepServe.Models;
using XDeepServe.Models.Images;

namespace XDeepServe.FlowServe.Tests;

public sealed class ImageTests
{
    private const string Family = "llava_random";

    [Fact]
    public async Task Batched_chunked_cached_and_preempted_runs_with_images_give_the_tokens_of_a_run_alone()
    {
        (int Before, int Images, int After)[] prompts = [(1, 1, 5), (0, 2, 20), (30, 1, 1), (12, 3, 60), (7, 0, 40), (3, 1, 100), (16, 2, 3)];
        int[][] alone = new int[prompts.Length][];
        using (TestEngine engine = new(Family, TestEngine.Options() with { MaxBatchedTokens = 512, PrefixCaching = false }))
        {
            for (int i = 0; i < prompts.Length; i++)
                alone[i] = await Run(engine, prompts[i], i);
        }
        foreach (EngineOptions options in new[]
        {
            TestEngine.Options(),
            TestEngine.Options() with { MaxBatchedTokens = 5, MaxSequences = 4 },           // an image spans several steps
            TestEngine.Options() with { NumBlocksOverride = 12, PrefixCaching = false },    // too few blocks: preempted
            TestEngine.Options() with { NumBlocksOverride = 12 },
        })
        {
            using TestEngine engine = new(Family, options);
            for (int round = 0; round < 2; round++)
            {
                int[][] together = await Task.WhenAll(prompts.Select((prompt, i) => Run(engine, prompt, i)));
                for (int i = 0; i < prompts.Length; i++)
                    Assert.Equal(alone[i], together[i]);
            }
            await engine.Idle();
            Assert.Equal(options.NumBlocksOverride == 12, engine.Metrics.Preemptions > 0);
        }
    }

    [Fact]
    public async Task The_same_image_is_found_in_the_prefix_cache_and_another_is_not()
    {
        using TestEngine engine = new(Family);
        (int[] prompt, PromptImage[] images) = Prompt(engine, (4, 2, 60), 1);
        PromptImage[] others = [images[0], new PromptImage(images[1].Start, images[1].Rows, Pixels(engine, 99))];
        List<OutputDelta> first = await Read(images), second = await Read(images), changed = await Read(others), text = await Read([]);
        Assert.Equal(0, first[^1].CachedTokens);
        Assert.Equal(80, second[^1].CachedTokens);
        Assert.Equal(TestEngine.Tokens(first), TestEngine.Tokens(second));
        Assert.Equal(0, changed[^1].CachedTokens); // the second image begins within the first block
        Assert.NotEqual(TestEngine.Tokens(first), TestEngine.Tokens(changed));
        Assert.Equal(0, text[^1].CachedTokens);
        Assert.NotEqual(TestEngine.Tokens(first), TestEngine.Tokens(text));

        async Task<List<OutputDelta>> Read(PromptImage[] given) => await TestEngine.Read(engine.Submit(prompt, TestEngine.Greedy(8), null, given));
    }

    [Fact]
    public void Images_that_do_not_fit_the_prompt_or_the_model_are_refused()
    {
        using TestEngine engine = new(Family), plain = new();
        (int[] prompt, PromptImage[] images) = Prompt(engine, (4, 1, 10), 1);
        Assert.Contains("text only", Refused(plain, new PromptImage(0, 1, [0])), StringComparison.Ordinal);
        Refused(engine, new PromptImage(20, images[0].Rows, images[0].Pixels));
        Refused(engine, new PromptImage(4, 5, images[0].Pixels));
        Refused(engine, new PromptImage(4, images[0].Rows, [1, 2, 3]));
        Refused(engine, images[0], new PromptImage(6, images[0].Rows, images[0].Pixels));

        string Refused(TestEngine asked, params PromptImage[] given) =>
            Assert.Throws<InvalidRequestException>(() => asked.Submit(prompt, TestEngine.Greedy(4), null, given)).Message;
    }

    private static async Task<int[]> Run(TestEngine engine, (int Before, int Images, int After) shape, int seed)
    {
        (int[] prompt, PromptImage[] images) = Prompt(engine, shape, seed);
        return TestEngine.Tokens(await TestEngine.Read(engine.Submit(prompt, TestEngine.Greedy(20), null, images)));
    }

    private static (int[] Ids, PromptImage[] Images) Prompt(TestEngine engine, (int Before, int Images, int After) shape, int seed)
    {
        ImageConfig config = engine.Model.Config.Images!;
        int[] text = [.. engine.Prompt(shape.Before + shape.After, seed).Select(id => id == config.TokenId ? 5 : id)];
        int[] ids = [.. text[..shape.Before], .. Enumerable.Repeat(config.TokenId, shape.Images), .. text[shape.Before..]];
        return PromptImage.Place(ids, [.. Enumerable.Range(0, shape.Images).Select(i => Pixels(engine, (seed * 10) + i))], config);
    }

    private static float[] Pixels(TestEngine engine, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, engine.Model.Config.Images!.Pixels).Select(_ => (random.NextSingle() * 4) - 2)];
    }
}
