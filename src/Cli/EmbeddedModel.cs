using XDeepServe.Models.Loading;

namespace XDeepServe.Cli;

/// <summary>The models that come with the program.</summary>
internal static class EmbeddedModel
{
    /// <summary>The judge: GRAM, for reward commands.</summary>
    public const string Judge = "nano-gram";

    private const string Chat = "nano-moe";

    /// <summary>A model's folder: beside the program, or in a checkout above it.</summary>
    /// <param name="name">The chat model, or <see cref="Judge"/>.</param>
    /// <exception cref="ModelLoadException">It is not there.</exception>
    public static string Find(string name = Chat)
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string candidate = Path.Combine(folder.FullName, "models", name);
            if (Directory.Exists(candidate))
                return candidate;
        }
        throw new ModelLoadException($"The embedded model {name} is not beside the program. Name another with --model.");
    }
}
