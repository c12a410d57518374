using XDeepServe.Models.Loading;

namespace XDeepServe.Cli;

/// <summary>The model that comes with the program.</summary>
internal static class EmbeddedModel
{
    /// <summary>Its folder: beside the program, or in a checkout above it.</summary>
    /// <exception cref="ModelLoadException">It is not there.</exception>
    public static string Find()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string candidate = Path.Combine(folder.FullName, "models", "nano-moe");
            if (Directory.Exists(candidate))
                return candidate;
        }
        throw new ModelLoadException("The embedded model is not beside the program. Name another with --model.");
    }
}
