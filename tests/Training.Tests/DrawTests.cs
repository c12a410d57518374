using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Models.Text;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Running;
using XDeepServe.Training.Settings;
using XDeepServe.Training.Stages;

namespace XDeepServe.Training.Tests;

public sealed class DrawTests
{
    [Fact]
    public void A_larger_draw_holds_the_smaller_ones_and_another_seed_draws_others()
    {
        Example[] all = [.. Enumerable.Range(0, 1000).Select(id => new Example([new Sequence([id])]))];
        int[] some = Drawn(all, 50, 1), more = Drawn(all, 200, 1);
        Assert.Equal((50, 200), (some.Length, more.Length));
        Assert.Subset(more.ToHashSet(), some.ToHashSet());
        Assert.Equal(some.Order(), some);
        Assert.InRange(some.Average(), 350, 650); // from all over the file, not its beginning
        Assert.InRange(some.Intersect(Drawn(all, 50, 2)).Count(), 0, 12);
        Assert.Equal(some, Drawn(all, 50, 1));
        Assert.Equal(1000, Drawn(all, 0, 1).Length);
        Assert.Equal(1000, Drawn(all, 5000, 1).Length);
    }

    [Fact]
    public void Both_orders_of_a_pair_are_drawn_together()
    {
        Example[] all = [.. Enumerable.Range(0, 100).SelectMany(id =>
        {
            PreferencePair pair = new() { Prompt = Message.Question("?"), Chosen = $"{id}", Rejected = "no" };
            return new[] { 0, 1 }.Select(label => new Example([new Sequence([id])]) { Label = label, Pair = pair });
        })];
        int[] drawn = Drawn(all, 10, 3);
        Assert.Equal(20, drawn.Length);
        Assert.All(drawn.GroupBy(id => id), both => Assert.Equal(2, both.Count()));
    }

    [Fact]
    public void What_is_drawn_does_not_depend_on_the_order_of_answers()
    {
        using TinyModel tiny = new();
        string data = tiny.Data("many.jsonl", Enumerable.Range(0, 400).Select(id => (object)new { prompt = "?", chosen = $"{id}", rejected = "no" }));
        TrainingSettings settings = tiny.Settings(data);
        Draw draw = new(40, settings.Seed);
        Tokenizer tokenizer = Tokenizer.FromFolder(tiny.Folder);
        foreach (Example example in new Gram(new PromptWriter(tokenizer, tokenizer.CreateTemplate()), new JudgePrompt(), settings).Read(data, new DataCounts()))
            draw.Offer(example);
        Assert.InRange(draw.Examples.Count(example => example.Label == 0), 8, 32); // one in 100,000 draws is outside
    }

    private static int[] Drawn(IEnumerable<Example> all, int most, int seed)
    {
        Draw draw = new(most, seed);
        foreach (Example example in all)
            draw.Offer(example);
        return [.. draw.Examples.Select(example => example.Sequences[0].Ids[0])];
    }
}
