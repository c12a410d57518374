#:project ../../src/Server/Server.csproj
#:property PublishAot=false

using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Rewards;
using XDeepServe.Server;
using XDeepServe.Server.InProcess;

// One model inside the application: it answers, embeds and judges.
ServiceCollection services = new();
services.AddXDeepServe(new LocalOptions { Model = args[0], MaxModelLength = 1024 });
await using ServiceProvider provider = services.BuildServiceProvider();

IChatClient chat = provider.GetRequiredService<IChatClient>();
await foreach (ChatResponseUpdate update in chat.GetStreamingResponseAsync("Name a colour of the sky.", new ChatOptions { MaxOutputTokens = 24 }))
    Console.Write(update.Text);
Console.WriteLine();

IRewardModel rewards = provider.GetRequiredService<IRewardModel>();
IReadOnlyList<double> scores = await rewards.ScoreAsync(Message.Question("Name a colour of the sky."), ["Blue.", "A potato."]);
Console.WriteLine($"Blue {scores[0]:F3}, a potato {scores[1]:F3}");

IEmbeddingGenerator<string, Embedding<float>> embeddings = provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();
Console.WriteLine($"{(await embeddings.GenerateAsync(["blue"]))[0].Dimensions} values");
