using System.Text.Json.Nodes;

namespace XDeepServe.Models.Tests;

/// <summary>A row's result does not depend on what else is in the step.</summary>
public class BatchTests
{
    public static TheoryData<string, bool> Models
    {
        get
        {
            var data = new TheoryData<string, bool>();
            foreach (string backend in Backends.All)
            {
                data.Add(backend, true);
                data.Add(backend, false);
            }
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void Neighbours_do_not_change_a_row(string backend, bool latent)
    {
        using LoadedModel loaded = Load(backend, latent);
        var random = new Random(5);
        int[][] prompts = [.. ((int[])[1, 9, 33, 16, 40]).Select(length => Tokens(random, length))];
        using Runner apart = loaded.CreateRunner();
        float[][][] alone = [.. prompts.Select(prompt => apart.Prefill(new Sequence(prompt)))];
        float[][] next = [.. prompts.Select(prompt => Continue(loaded, prompt))];

        using Runner together = loaded.CreateRunner();
        Sequence[] sequences = [.. prompts.Select(prompt => new Sequence(prompt))];
        float[][] rows = together.Step([.. sequences.Select(sequence => (sequence, sequence.Left))]);
        Assert.Equal(alone.SelectMany(part => part), rows);

        foreach (Sequence sequence in sequences)
            sequence.Tokens.Add(4);
        Assert.Equal(next, together.Step([.. sequences.Select(sequence => (sequence, 1))]));
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void Decoding_beside_a_prompt_changes_neither(string backend, bool latent)
    {
        using LoadedModel loaded = Load(backend, latent);
        var random = new Random(6);
        int[] first = Tokens(random, 21);
        int[] second = Tokens(random, 30);
        float[] expectedFirst = Continue(loaded, first);
        using Runner apart = loaded.CreateRunner();
        float[][] expectedSecond = apart.Prefill(new Sequence(second));

        using Runner mixed = loaded.CreateRunner();
        var decoding = new Sequence(first);
        mixed.Prefill(decoding);
        decoding.Tokens.Add(4);
        float[][] rows = mixed.Step((decoding, 1), (new Sequence(second), second.Length));
        Assert.Equal(expectedFirst, rows[0]);
        Assert.Equal(expectedSecond, rows[1..]);
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void Chunks_do_not_change_a_row(string backend, bool latent)
    {
        using LoadedModel loaded = Load(backend, latent);
        int[] prompt = Tokens(new Random(8), 70);
        using Runner runner = loaded.CreateRunner();
        float[][] whole = runner.Prefill(new Sequence(prompt));
        float range = whole[^1].Max() - whole[^1].Min();
        foreach (int chunk in (int[])[1, 7, 16, 33])
        {
            float[][] chunked = runner.Prefill(new Sequence(prompt), chunk);
            if (!latent)
            {
                Assert.Equal(whole, chunked);
                continue;
            }
            // Few rows take the absorbed form of latent attention, many the expanded one: equal up to rounding.
            for (int row = 0; row < whole.Length; row++)
                for (int i = 0; i < whole[row].Length; i++)
                    Assert.Equal(whole[row][i], chunked[row][i], 1e-4f * range);
        }
    }

    private static float[] Continue(LoadedModel loaded, int[] prompt)
    {
        using Runner runner = loaded.CreateRunner();
        var sequence = new Sequence(prompt);
        runner.Prefill(sequence);
        sequence.Tokens.Add(4);
        return runner.Step((sequence, 1))[0];
    }

    private static LoadedModel Load(string backend, bool latent)
    {
        JsonObject config = latent ? TinyModel.DeepSeekConfig() : TinyModel.Qwen3Config();
        return new LoadedModel(TinyModel.Checkpoint(config), Backends.Create(backend));
    }

    private static int[] Tokens(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => random.Next(96))];
}
