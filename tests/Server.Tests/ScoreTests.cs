using System.Globalization;
using System.Text.Json.Nodes;

namespace XDeepServe.Server.Tests;

/// <summary>What models say of whole texts, under the names that other servers and trainers gave it.</summary>
public sealed class ScoreTests
{
    [Fact]
    public async Task LabelsScoreItemsInBothForms()
    {
        await using ServerHost host = await ServerHost.StartAsync();
        // The engine's own log-probabilities are the reference: two tokens that may follow "query item".
        JsonNode completion = await host.JsonAsync("/v1/completions", """{"prompt":"query item","max_tokens":1,"temperature":0,"logprobs":2,"return_tokens_as_token_ids":true}""");
        KeyValuePair<string, JsonNode?>[] top = [.. completion["choices"]![0]!["logprobs"]!["top_logprobs"]![0]!.AsObject()];
        (int id, double logprob)[] labels = [.. top.Select(pair => (int.Parse(pair.Key[9..], CultureInfo.InvariantCulture), (double)pair.Value!))];
        double share = Math.Exp(labels[0].logprob) / (Math.Exp(labels[0].logprob) + Math.Exp(labels[1].logprob));
        string ids = $"[{labels[0].id},{labels[1].id}]";

        JsonNode answer = await host.JsonAsync("/generative_scoring", $$"""{"model":"tiny","query":"query","items":[" item"," other"],"label_token_ids":{{ids}}}""");
        Assert.Equal(2, answer["data"]!.AsArray().Count);
        Assert.Equal(share, (double)answer["data"]![0]!["score"]!, 4);
        Assert.Equal(21, (int)answer["usage"]!["prompt_tokens"]!);
        answer = await host.JsonAsync("/generative_scoring", $$"""{"query":" item","items":["query"],"item_first":true,"label_token_ids":{{ids}}}""");
        Assert.Equal(share, (double)answer["data"]![0]!["score"]!, 4);

        answer = await host.JsonAsync("/v1/score", $$"""{"query":[113,117,101,114,121],"items":[[32,105,116,101,109]],"label_token_ids":{{ids}}}""");
        Assert.Equal(Math.Exp(labels[1].logprob), (double)answer["scores"]![0]![1]!, 4);
        answer = await host.JsonAsync("/v1/score", $$"""{"query":"query","items":" item","label_token_ids":{{ids}},"apply_softmax":true}""");
        Assert.Equal(share, (double)answer["scores"]![0]![0]!, 4);
        Assert.Equal(0, await host.MetricAsync("vllm:kv_cache_usage_perc"));
    }

    [Fact]
    public async Task AScoreHeadClassifiesScoresRanksAndRewards()
    {
        await using ServerHost host = await ServerHost.StartAsync(model: TinyModel.CreateScorer(1));
        JsonNode raw = await host.JsonAsync("/classify", """{"input":["one","another text"],"use_activation":false}""");
        JsonNode classes = await host.JsonAsync("/classify", """{"input":["one","another text"]}""");
        double[] rewards = [.. raw["data"]!.AsArray().Select(item => (double)item!["probs"]![0]!)];
        Assert.NotEqual(rewards[0], rewards[1]);
        for (int index = 0; index < 2; index++)
        {
            JsonNode item = classes["data"]![index]!;
            Assert.Equal((index, "LABEL_0", 1), ((int)item["index"]!, (string)item["label"]!, (int)item["num_classes"]!));
            Assert.Equal(1 / (1 + Math.Exp(-rewards[index])), (double)item["probs"]![0]!, 4);
        }
        JsonNode reward = await host.JsonAsync("/get_reward", """{"query":["one","another text"],"prompts":["",""]}""");
        Assert.Equal(rewards, reward["rewards"]!.AsArray().Select(value => Math.Round((double)value!, 5)), (a, b) => Math.Abs(a - b) < 1e-4);
        Assert.Equal(2, reward["scores"]!.AsArray().Count);
        JsonNode evaluation = await host.JsonAsync("/v1/score/evaluation", """{"model":"tiny","messages":["one"]}""");
        Assert.Equal(("score.evaluation", rewards[0]), ((string)evaluation["object"]!, (double)evaluation["scores"]![0]!), (a, b) => a.Item1 == b.Item1 && Math.Abs(a.Item2 - b.Item2) < 1e-4);
        // LLaMA-Factory cuts texts behind max_length tokens, also those that no context would hold.
        JsonNode beginnings = await host.JsonAsync("/v1/score/evaluation", $$"""{"model":"tiny","messages":["one","one{{new string('x', 9000)}}"],"max_length":2}""");
        Assert.Equal((double)beginnings["scores"]![0]!, (double)beginnings["scores"]![1]!, 5);
        Assert.NotEqual(rewards[0], (double)beginnings["scores"]![0]!);

        // A pair is a conversation through the model's template.
        JsonNode scored = await host.JsonAsync("/score", """{"text_1":"hi","text_2":["yes","no","maybe"]}""");
        JsonNode chat = await host.JsonAsync("/pooling", """{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"no"}]}""");
        double[] scores = [.. scored["data"]!.AsArray().Select(item => (double)item!["score"]!)];
        Assert.Equal((double)chat["data"]![0]!["data"]![0]!, scores[1], 5);
        JsonNode ranked = await host.JsonAsync("/rerank", """{"query":"hi","documents":["yes",{"text":"no"},"maybe"],"top_n":2}""");
        int[] order = [.. Enumerable.Range(0, 3).OrderByDescending(index => scores[index])];
        Assert.Equal(order[..2], ranked["results"]!.AsArray().Select(item => (int)item!["index"]!));
        Assert.Equal(scores[order[0]], (double)ranked["results"]![0]!["relevance_score"]!, 5);
        using HttpResponseMessage generation = await host.PostAsync("/v1/completions", """{"prompt":"hi"}""");
        Assert.Contains("scores texts", (string)(await ServerHost.ErrorAsync(generation, 400))["message"]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task SeveralLabelsAreProbabilities()
    {
        await using ServerHost host = await ServerHost.StartAsync(model: TinyModel.CreateScorer(3));
        JsonNode item = (await host.JsonAsync("/classify", """{"input":[1,2,3]}"""))["data"]![0]!;
        double[] shares = [.. item["probs"]!.AsArray().Select(value => (double)value!)];
        Assert.Equal(1, shares.Sum(), 5);
        Assert.Equal($"LABEL_{Array.IndexOf(shares, shares.Max())}", (string)item["label"]!);
        using HttpResponseMessage score = await host.PostAsync("/score", """{"text_1":"a","text_2":"b"}""");
        Assert.Contains("/classify", (string)(await ServerHost.ErrorAsync(score, 400))["message"]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task EmbeddingsHaveLengthOneAndTextsAreNearThemselves()
    {
        await using ServerHost host = await ServerHost.StartAsync();
        JsonNode answer = await host.JsonAsync("/v1/embeddings", """{"input":["a text","b text"],"encoding_format":"base64"}""");
        float[] first = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(Convert.FromBase64String((string)answer["data"]![0]!["embedding"]!)).ToArray();
        JsonNode pooled = await host.JsonAsync("/pooling", """{"input":"a text","task":"embed"}""");
        Assert.Equal(first, pooled["data"]![0]!["data"]!.AsArray().Select(value => (float)value!), (a, b) => MathF.Abs(a - b) < 1e-6f);
        Assert.Equal(1, first.Sum(value => value * value), 4);
        JsonNode scores = await host.JsonAsync("/score", """{"queries":["a text","b text"],"documents":["a text","a text"]}""");
        Assert.Equal(1, (double)scores["data"]![0]!["score"]!, 4);
        Assert.True((double)scores["data"]![1]!["score"]! < 0.9999);
    }

    [Theory]
    [InlineData("/classify", """{"input":"a"}""", "model")]
    [InlineData("/classify", "{}", "input")]
    [InlineData("/pooling", """{"input":"a","task":"other"}""", "task")]
    [InlineData("/v1/embeddings", """{"input":[]}""", "input")]
    [InlineData("/v1/embeddings", """{"input":"a","encoding_format":"hex"}""", "encoding_format")]
    [InlineData("/v1/embeddings", """{"input":"a","dimensions":3}""", "dimensions")]
    [InlineData("/score", """{"text_1":["a","b"],"text_2":["c","d","e"]}""", "text_1")]
    [InlineData("/rerank", """{"documents":["a"]}""", "query")]
    [InlineData("/rerank", """{"query":"a","documents":[]}""", "documents")]
    [InlineData("/generative_scoring", """{"query":"a","items":["b"]}""", "label_token_ids")]
    [InlineData("/generative_scoring", """{"query":"a","items":["b"],"label_token_ids":[1]}""", "label_token_ids")]
    [InlineData("/v1/score", """{"query":"a","items":["b"],"label_token_ids":[99999]}""", "label_token_ids")]
    [InlineData("/v1/score", """{"query":[1],"items":["b"],"label_token_ids":[1]}""", "items")]
    [InlineData("/generative_scoring", """{"query":["a","b"],"items":["c"],"label_token_ids":[1,2]}""", "query")]
    [InlineData("/v1/score", """{"query":[[1],[2]],"items":[[3]],"label_token_ids":[1]}""", "query")]
    [InlineData("/get_reward", """{"query":[]}""", "query")]
    public async Task WrongRequestsNameTheirField(string path, string body, string field)
    {
        await using ServerHost host = await ServerHost.StartAsync();
        using HttpResponseMessage response = await host.PostAsync(path, body);
        Assert.Equal(field, (string?)(await ServerHost.ErrorAsync(response, 400))["param"]);
    }
}
