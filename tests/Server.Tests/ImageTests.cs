using System.Text.Json.Nodes;

namespace XDeepServe.Server.Tests;

/// <summary>Images in chat messages.</summary>
public sealed class ImageTests
{
    private const string Path = "/v1/chat/completions";

    private const string Parts =
        "{% for message in messages %}{{ message['role'] }}: {% for part in message['content'] | selectattr('type', 'equalto', 'image') %}<image>\n{% endfor %}"
        + "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] }} {% endfor %}{% endfor %}";

    [Theory]
    [InlineData(null)]
    [InlineData(Parts)]
    public async Task AnImageTakesItsTokensAndChangesTheAnswer(string? template)
    {
        await using ServerHost host = await ServerHost.StartAsync(model: TinyModel.CreateForImages(template));
        JsonNode text = await host.JsonAsync(Path, Body("""{"type":"text","text":"What is it?"}"""));
        JsonNode one = await host.JsonAsync(Path, Body($$"""{{Image("shrunk")}},{"type":"text","text":"What is it?"}"""));
        JsonNode other = await host.JsonAsync(Path, Body($$"""{{Image("tall")}},{"type":"text","text":"What is it?"}"""));
        JsonNode again = await host.JsonAsync(Path, Body($$"""{{Image("shrunk")}},{"type":"text","text":"What is it?"}"""));
        JsonNode two = await host.JsonAsync(Path, Body($$"""{{Image("shrunk")}},{{Image("tall")}},{"type":"text","text":"What is it?"}"""));
        // Nine rows and the line that follows them.
        Assert.Equal(10, Tokens(one) - Tokens(text));
        Assert.Equal(20, Tokens(two) - Tokens(text));
        Assert.Equal(Content(one), Content(again));
        Assert.NotEqual(Content(one), Content(other));
        Assert.NotEqual(Content(one), Content(text));
        JsonNode ids = await host.JsonAsync("/tokenize", $$"""{"messages":[{"role":"user","content":[{{Image("shrunk")}},{"type":"text","text":"What is it?"}]}]}""");
        Assert.Equal(Tokens(one), (int)ids["count"]!);
        Assert.Equal(9, ids["tokens"]!.AsArray().Count(id => (int)id! == TinyModel.Image));
    }

    [Fact]
    public async Task AModelOfTextAloneRefusesImages()
    {
        await using ServerHost host = await ServerHost.StartAsync();
        JsonNode error = await ServerHost.ErrorAsync(await host.PostAsync(Path, Body(Image("shrunk"))), 400);
        Assert.Contains("text only", (string)error["message"]!, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"type":"image_url","image_url":{"url":"http://127.0.0.1:1/cat.png"}}""", "data URL")]
    [InlineData("""{"type":"image_url","image_url":{"url":"https://example.com/cat.png"}}""", "data URL")]
    [InlineData("""{"type":"image_url","image_url":{"url":"file:///etc/hostname"}}""", "allowed-local-media-path")]
    [InlineData("""{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}""", "PNG")]
    [InlineData("""{"type":"image_url","image_url":{"url":"data:image/png;base64,%%%"}}""", "base64")]
    [InlineData("""{"type":"image_url","image_url":{"url":"data:image/png,abc"}}""", "base64")]
    [InlineData("""{"type":"image_url","image_url":{}}""", "missing")]
    [InlineData("""{"type":"image_url"}""", "missing")]
    [InlineData("""{"type":"image_url","image_url":7}""", "object")]
    [InlineData("""{"type":"input_audio","input_audio":{}}""", "input_audio")]
    public async Task WhatIsNoImageIsRefused(string part, string said)
    {
        await using ServerHost host = await ServerHost.StartAsync(model: TinyModel.CreateForImages());
        JsonNode error = await ServerHost.ErrorAsync(await host.PostAsync(Path, Body(part)), 400);
        Assert.Contains(said, (string)error["message"]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ImagesThatDoNotFitAreRefusedAndTheTokenIsNotForUsers()
    {
        await using ServerHost host = await ServerHost.StartAsync(model: TinyModel.CreateForImages());
        string image = Image("grown");
        JsonNode many = await ServerHost.ErrorAsync(await host.PostAsync(Path, Body(string.Join(',', Enumerable.Repeat(image, 60)))), 400);
        Assert.Contains("more images than fit", (string)many["message"]!, StringComparison.Ordinal);
        JsonNode written = await ServerHost.ErrorAsync(await host.PostAsync(Path, Body(image + """,{"type":"text","text":"<image>"}""")), 400);
        Assert.Contains("<image>", (string)written["message"]!, StringComparison.Ordinal);
        await ServerHost.ErrorAsync(await host.PostAsync(Path, Body(image).Replace("\"max_tokens\"", "\"truncate_prompt_tokens\":5,\"max_tokens\"", StringComparison.Ordinal)), 400);
    }

    [Fact]
    public async Task RewardsSeeImages()
    {
        await using ServerHost host = await ServerHost.StartAsync(model: TinyModel.CreateVisualScorer());
        string one = Conversation(Image("shrunk") + ","), other = Conversation(Image("tall") + ","), text = Conversation("");
        JsonNode all = await host.JsonAsync("/get_reward", $$"""{"messages":[{{one}},{{other}},{{text}}]}""");
        double[] rewards = [.. all["rewards"]!.AsArray().Select(value => (double)value!)];
        Assert.Equal(3, rewards.Distinct().Count());
        JsonNode alone = await host.JsonAsync("/get_reward", $$"""{"messages":{{other}}}""");
        Assert.Equal(rewards[1], (double)alone["rewards"]!.AsArray().Single()!, 5);
        JsonNode classes = await host.JsonAsync("/classify", $$"""{"messages":{{other}},"use_activation":false}""");
        Assert.Equal(rewards[1], (double)classes["data"]![0]!["probs"]![0]!, 5);
        JsonNode pooled = await host.JsonAsync("/pooling", $$"""{"messages":{{other}},"use_activation":false}""");
        Assert.Equal(rewards[1], (double)pooled["data"]![0]!["data"]![0]!, 5);
        JsonNode error = await ServerHost.ErrorAsync(await host.PostAsync("/get_reward", $$"""{"messages":[{{one}},[]]}"""), 400);
        Assert.Contains("messages[1]", (string)error["message"]!, StringComparison.Ordinal);

        static string Conversation(string image) => $$"""[{"role":"user","content":[{{image}}{"type":"text","text":"What is it?"}]},{"role":"assistant","content":"A cat."}]""";
    }

    [Fact]
    public async Task AGenerationHasOneConversation()
    {
        await using ServerHost host = await ServerHost.StartAsync();
        JsonNode error = await ServerHost.ErrorAsync(await host.PostAsync(Path, """{"messages":[[{"role":"user","content":"a"}],[{"role":"user","content":"b"}]]}"""), 400);
        Assert.Contains("one conversation", (string)error["message"]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task FilesAreReadFromTheAllowedFolderAlone()
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory();
        try
        {
            string allowed = folder.CreateSubdirectory("allowed").FullName, inside = System.IO.Path.Combine(allowed, "a b.png"), outside = System.IO.Path.Combine(folder.FullName, "b.png");
            byte[] file = Convert.FromBase64String(File("shrunk"));
            await System.IO.File.WriteAllBytesAsync(inside, file, TestContext.Current.CancellationToken);
            await System.IO.File.WriteAllBytesAsync(outside, file, TestContext.Current.CancellationToken);
            System.IO.File.CreateSymbolicLink(System.IO.Path.Combine(allowed, "link.png"), outside);
            await using ServerHost host = await ServerHost.StartAsync(ServerHost.Options with { AllowedLocalMediaPath = allowed }, model: TinyModel.CreateForImages());
            JsonNode given = await host.JsonAsync(Path, Body(Image("shrunk"))), read = await host.JsonAsync(Path, Body(Named(new Uri(inside).AbsoluteUri)));
            Assert.Equal(Content(given), Content(read));
            foreach (string url in (string[])[new Uri(outside).AbsoluteUri, $"file://{allowed}/../b.png", $"file://{allowed}/link.png", $"file://{allowed}/none.png", $"file://{allowed}", "file://host/share/a.png"])
            {
                await ServerHost.ErrorAsync(await host.PostAsync(Path, Body(Named(url))), 400);
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static string Body(string parts) =>
        $$"""{"messages":[{"role":"user","content":[{{parts}}]}],"max_tokens":12,"temperature":0,"ignore_eos":true}""";

    private static string Image(string name) => Named("data:image/png;base64," + File(name));

    private static string Named(string url) => new JsonObject { ["type"] = "image_url", ["image_url"] = new JsonObject { ["url"] = url, ["detail"] = "auto" } }.ToJsonString();

    private static string File(string name) =>
        (string)JsonNode.Parse(System.IO.File.ReadAllText(System.IO.Path.Combine(AppContext.BaseDirectory, "golden", "cases.json")))!["cases"]!.AsArray()
            .Single(item => (string)item!["name"]! == name)!["file"]!;

    private static int Tokens(JsonNode answer) => (int)answer["usage"]!["prompt_tokens"]!;

    private static string Content(JsonNode answer) => (string)answer["choices"]![0]!["message"]!["content"]!;
}
