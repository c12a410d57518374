namespace XDeepServe.Models.Tests;

/// <summary>Where test data lies.</summary>
internal static class Places
{
    /// <summary>The repository's root folder.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>Golden models that the repository holds.</summary>
    public static string Golden(string name) => Path.Combine(Root, "tests", "golden", name);

    /// <summary>A folder of the shared data beside the repository; skips the test if it is absent.</summary>
    public static string Shared(params string[] parts)
    {
        string folder = Path.GetFullPath(Path.Combine([Root, "..", "shared", .. parts]));
        Assert.SkipUnless(Directory.Exists(folder), $"{folder} is absent");
        return folder;
    }

    private static string FindRoot()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "XDeepServe.slnx")))
            folder = Path.GetDirectoryName(folder);
        return folder ?? throw new DirectoryNotFoundException("The tests run outside the repository.");
    }
}
