using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using XDeepServe.Alignment.Rewards;
using XDeepServe.Server.InProcess;

namespace XDeepServe.Server;

/// <summary>Makes a model in this process available to an application.</summary>
public static class LocalServices
{
    /// <summary>
    /// Adds a <see cref="LocalEngine"/>, and on it an <see cref="IChatClient"/>, an <see cref="IEmbeddingGenerator{String, Embedding}"/> and an
    /// <see cref="IRewardModel"/>. The model is loaded when one of them is first asked for, and freed with the container.
    /// </summary>
    /// <param name="services">The application's.</param>
    /// <param name="options">Which model, and where it runs.</param>
    public static IServiceCollection AddXDeepServe(this IServiceCollection services, LocalOptions options) => services
        .AddSingleton(_ => LocalEngine.Open(options))
        .AddSingleton<IChatClient>(provider => new LocalChatClient(provider.GetRequiredService<LocalEngine>()))
        .AddSingleton<IEmbeddingGenerator<string, Embedding<float>>>(provider => new LocalEmbeddingGenerator(provider.GetRequiredService<LocalEngine>()))
        .AddSingleton(provider => provider.GetRequiredService<LocalEngine>().Rewards);
}
