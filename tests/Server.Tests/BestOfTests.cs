using System.Text.Json.Nodes;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Rewards;
using XDeepServe.FlowServe;

namespace XDeepServe.Server.Tests;

/// <summary><c>best_of</c> with a reward model beside the served one.</summary>
public sealed class BestOfTests
{
    private const string Question = """ "messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Sky?"}],"max_tokens":6,"seed":7,"temperature":3 """;

    [Fact]
    public async Task TheAnswersThatTheRewardModelLikesBestComeBackBestFirst()
    {
        Recorder rewards = new();
        await using ServerHost host = await StartAsync(rewards);
        JsonNode answer = await host.JsonAsync("/v1/chat/completions", $$"""{{{Question}},"n":2,"best_of":5}""");
        (IReadOnlyList<Message> prompt, IReadOnlyList<string> given) = Assert.Single(rewards.Calls);
        Assert.Equal([new("system", "Be brief."), new("user", "Sky?")], prompt);
        Assert.Equal(5, given.Count);
        // The twin: all answers of the same seed, without ranking.
        JsonNode all = await host.JsonAsync("/v1/chat/completions", $$"""{{{Question}},"n":5}""");
        string[] texts = [.. all["choices"]!.AsArray().Select(choice => (string)choice!["message"]!["content"]!)];
        Assert.Equal(texts, given);
        int[] order = [.. Enumerable.Range(0, 5).OrderByDescending(index => Recorder.Score(texts[index]))];
        Assert.Equal(order.Take(2).Select(index => texts[index]), answer["choices"]!.AsArray().Select(choice => (string)choice!["message"]!["content"]!));
        Assert.Equal([0, 1], answer["choices"]!.AsArray().Select(choice => (int)choice!["index"]!));
        Assert.Equal((int)all["usage"]!["completion_tokens"]!, (int)answer["usage"]!["completion_tokens"]!);

        JsonNode one = await host.JsonAsync("/v1/chat/completions", $$"""{{{Question}},"best_of":5,"logprobs":true}""");
        JsonNode best = Assert.Single(one["choices"]!.AsArray())!;
        Assert.Equal(texts[order[0]], (string)best["message"]!["content"]!);
        Assert.NotEmpty(best["logprobs"]!["content"]!.AsArray());
        Assert.Single((await host.JsonAsync("/v1/chat/completions", $$"""{{{Question}},"best_of":1}"""))["choices"]!.AsArray());
        Assert.Equal(2, rewards.Calls.Count); // equal to n: nothing to rank
    }

    [Fact]
    public async Task TheRewardModelSeesTheImagesOfAConversation()
    {
        const string Pixel = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC";
        const string Asked = $$$"""{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[{"type":"image_url","image_url":{"url":"{{{Pixel}}}"}},{"type":"text","text":"What is it?"}]}],"max_tokens":4,"best_of":3}""";
        Recorder rewards = new();
        await using ServerHost host = await ServerHost.StartAsync(model: TinyModel.CreateForImages(), attach: false);
        host.Server.Attach(host.Model.Served with { Rewards = rewards, RewardsSeeImages = true });
        Assert.Single((await host.JsonAsync("/v1/chat/completions", Asked))["choices"]!.AsArray());
        (IReadOnlyList<Message> prompt, IReadOnlyList<string> given) = Assert.Single(rewards.Calls);
        Assert.Equal([("system", "Be brief.", 0), ("user", "What is it?", 1)], prompt.Select(message => (message.Role, message.Content, message.Images.Count)));
        Assert.Equal(3, given.Count);
        string file = Path.GetTempFileName();
        try
        {
            await File.WriteAllBytesAsync(file, Convert.FromBase64String(Pixel[(Pixel.IndexOf(',', StringComparison.Ordinal) + 1)..]), TestContext.Current.CancellationToken);
            Assert.Equal(host.Model.Served.Images!.Read(file), host.Model.Served.Images.Read(prompt[1].Images.Single()));
        }
        finally
        {
            File.Delete(file);
        }
        await using ServerHost blind = await ServerHost.StartAsync(model: TinyModel.CreateForImages(), attach: false);
        blind.Server.Attach(blind.Model.Served with { Rewards = new Recorder() });
        JsonNode error = await ServerHost.ErrorAsync(await blind.PostAsync("/v1/chat/completions", Asked), 400);
        Assert.Contains("text only", (string)error["message"]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task WhatCannotBeRankedIsRefused()
    {
        await using ServerHost host = await StartAsync(new Recorder());
        await Refused("/v1/chat/completions", $$"""{{{Question}},"best_of":3,"stream":true}""", "streamed");
        await Refused("/v1/chat/completions", $$"""{{{Question}},"n":3,"best_of":2}""", "best_of");
        await Refused("/v1/chat/completions", $$"""{{{Question}},"best_of":1000}""", "best_of");
        await Refused("/v1/chat/completions", """{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"best_of":2}""", "assistant's");
        await Refused("/v1/completions", """{"prompt":"a","best_of":2,"max_tokens":2}""", "/v1/chat/completions");
        await using ServerHost strict = await StartAsync(new Recorder { Refuses = true });
        await ServerHost.ErrorAsync(await strict.PostAsync("/v1/chat/completions", $$"""{{{Question}},"best_of":3}"""), 400);
        Assert.Equal(0, strict.Model.Shell.Unfinished);
        await using ServerHost without = await ServerHost.StartAsync();
        JsonNode error = await ServerHost.ErrorAsync(await without.PostAsync("/v1/chat/completions", $$"""{{{Question}},"best_of":3}"""), 400);
        Assert.Contains("--reward-model", (string)error["message"]!, StringComparison.Ordinal);

        async Task Refused(string path, string body, string why)
        {
            JsonNode told = await ServerHost.ErrorAsync(await host.PostAsync(path, body), 400);
            Assert.Equal("best_of", (string)told["param"]!);
            Assert.Contains(why, (string)told["message"]!, StringComparison.Ordinal);
        }
    }

    private static async Task<ServerHost> StartAsync(IRewardModel rewards)
    {
        ServerHost host = await ServerHost.StartAsync(attach: false);
        host.Server.Attach(host.Model.Served with { Rewards = rewards });
        return host;
    }

    private sealed class Recorder : IRewardModel
    {
        public List<(IReadOnlyList<Message> Prompt, IReadOnlyList<string> Responses)> Calls { get; } = [];

        public bool Refuses { get; init; }

        public static double Score(string text) => text.Sum(letter => (letter * 7919) % 1000);

        public Task<IReadOnlyList<double>> ScoreAsync(IReadOnlyList<Message> prompt, IReadOnlyList<string> responses, CancellationToken cancel = default)
        {
            if (Refuses)
            {
                throw new InvalidRequestException("Too long.", "prompt");
            }
            Calls.Add((prompt, responses));
            return Task.FromResult<IReadOnlyList<double>>([.. responses.Select(Score)]);
        }
    }
}
